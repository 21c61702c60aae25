#include "kvcache/page_pool.h"

#include <gtest/gtest.h>

#include "kvcache/block_table.h"

namespace hopskip {
namespace {

using Tokens = std::vector<int32_t>;

TEST(PagePool, GivesEveryPageOnceAndSaysWhenNoneIsLeft) {
  PagePool pool(3, 4);
  std::vector<bool> seen(3);
  for (int i = 0; i < 3; ++i) {
    const auto page = pool.allocate();
    ASSERT_TRUE(page);
    EXPECT_FALSE(seen.at(*page));
    seen[*page] = true;
  }
  EXPECT_EQ(pool.available(), 0);
  EXPECT_EQ(pool.allocate(), std::nullopt);
  pool.release(1);
  EXPECT_EQ(pool.available(), 1);
  EXPECT_EQ(pool.allocate(), 1);
}

TEST(PagePool, FindsWhatWasPublishedByExactTokensAndPlace) {
  PagePool pool(4, 2);
  const auto root = PagePool::root(0);
  const int32_t first = *pool.allocate();
  const int32_t second = *pool.allocate();
  const auto after_first = pool.publish(root, Tokens{1, 2}, first);
  pool.publish(after_first, Tokens{3, 4}, second);

  EXPECT_EQ(pool.find(root, Tokens{1, 2})->page, first);
  EXPECT_EQ(pool.find(after_first, Tokens{3, 4})->page, second);
  EXPECT_FALSE(pool.find(root, Tokens{3, 4}));               // not at the beginning
  EXPECT_FALSE(pool.find(root, Tokens{2, 1}));               // other order
  EXPECT_FALSE(pool.find(PagePool::root(1), Tokens{1, 2}));  // other settings
}

TEST(PagePool, KeepsPublishedPagesUntilTheirMemoryIsNeededLongestUnusedFirst) {
  PagePool pool(2, 1);
  const auto root = PagePool::root(0);
  const int32_t a = *pool.allocate();
  const int32_t b = *pool.allocate();
  pool.publish(root, Tokens{1}, a);
  pool.publish(root, Tokens{2}, b);
  pool.release(b);
  pool.release(a);
  EXPECT_EQ(pool.available(), 2);
  EXPECT_EQ(pool.allocate(), b);
  EXPECT_FALSE(pool.find(root, Tokens{2}));
  EXPECT_EQ(pool.find(root, Tokens{1})->page, a);
  EXPECT_EQ(pool.available(), 0);
}

TEST(PagePool, ASecondPublisherOfTheSamePlaceKeepsItsPagePrivate) {
  PagePool pool(2, 1);
  const auto root = PagePool::root(0);
  const int32_t a = *pool.allocate();
  const int32_t b = *pool.allocate();
  const auto after_a = pool.publish(root, Tokens{1}, a);
  EXPECT_EQ(pool.publish(root, Tokens{1}, b), after_a);
  pool.release(b);  // free at once: it was never published
  EXPECT_EQ(pool.allocate(), b);
  EXPECT_EQ(pool.find(root, Tokens{1})->page, a);
}

TEST(PagePool, AForgottenParentHidesItsChildren) {
  PagePool pool(2, 1);
  const auto root = PagePool::root(0);
  const int32_t a = *pool.allocate();
  const int32_t b = *pool.allocate();
  pool.publish(pool.publish(root, Tokens{1}, a), Tokens{2}, b);
  pool.release(a);
  EXPECT_EQ(pool.allocate(), a);  // takes the place of prefix 1
  const auto other = pool.publish(root, Tokens{1}, a);
  EXPECT_FALSE(pool.find(other, Tokens{2}));  // written after another page
}

TEST(BlockTable, ReservesWholePagesOrNothing) {
  PagePool pool(3, 4);
  BlockTable table(pool);
  EXPECT_TRUE(table.reserve(5));
  EXPECT_EQ(table.capacity(), 8);
  EXPECT_TRUE(table.reserve(8));
  EXPECT_EQ(pool.available(), 1);
  EXPECT_FALSE(table.reserve(13));
  EXPECT_EQ(pool.available(), 1);
  table.clear();
  EXPECT_EQ(pool.available(), 3);
}

TEST(BlockTable, SharesFullPagesOfACommonPrefix) {
  PagePool pool(8, 2);
  BlockTable first(pool);
  EXPECT_EQ(first.reuse_prefix(Tokens{1, 2, 3, 4, 5}, 0), 0);
  ASSERT_TRUE(first.reserve(5));
  first.publish(Tokens{1, 2, 3, 4, 5});

  BlockTable second(pool);
  EXPECT_EQ(second.reuse_prefix(Tokens{1, 2, 3, 9}, 0), 2);
  EXPECT_EQ(second.pages()[0], first.pages()[0]);
  ASSERT_TRUE(second.reserve(4));
  EXPECT_NE(second.pages()[1], first.pages()[1]);
  EXPECT_EQ(pool.available(), 8 - 3 - 1);

  BlockTable other_salt(pool);
  EXPECT_EQ(other_salt.reuse_prefix(Tokens{1, 2, 3, 4}, 7), 0);
}

TEST(BlockTable, APrefixOutlivesItsSequence) {
  PagePool pool(2, 2);
  {
    BlockTable table(pool);
    table.reuse_prefix(Tokens{1, 2, 3, 4}, 0);
    ASSERT_TRUE(table.reserve(4));
    table.publish(Tokens{1, 2, 3, 4});
  }
  EXPECT_EQ(pool.available(), 2);
  BlockTable table(pool);
  EXPECT_EQ(table.reuse_prefix(Tokens{1, 2, 3, 4}, 0), 4);
  table.clear();
  // Under pressure the end of the prefix goes before its beginning.
  ASSERT_TRUE(pool.allocate());
  EXPECT_EQ(table.reuse_prefix(Tokens{1, 2, 3, 4}, 0), 2);
}

}  // namespace
}  // namespace hopskip
