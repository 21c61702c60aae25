// EXPECT_ERROR(code, substring, statement): the statement throws hopskip::Error of that code, and
// its message contains the substring.
#ifndef HOPSKIP_TESTS_SUPPORT_ERROR_MATCHERS_H_
#define HOPSKIP_TESTS_SUPPORT_ERROR_MATCHERS_H_

#include <gtest/gtest.h>

#include <string>

#include "hopskip/error.h"

#define EXPECT_ERROR(expected_code, substring, ...)                                          \
  try {                                                                                      \
    __VA_ARGS__;                                                                             \
    ADD_FAILURE() << "no error";                                                             \
  } catch (const ::hopskip::Error& error) {                                                  \
    EXPECT_EQ(error.code(), expected_code) << error.what();                                  \
    EXPECT_NE(std::string(error.what()).find(substring), std::string::npos) << error.what(); \
  }

#endif  // HOPSKIP_TESTS_SUPPORT_ERROR_MATCHERS_H_
