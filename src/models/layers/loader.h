// Loading named tensors of a checkpoint into a backend, with their shapes checked, and of each the
// part that this rank of the backend's world holds.
#ifndef HOPSKIP_MODELS_LAYERS_LOADER_H_
#define HOPSKIP_MODELS_LAYERS_LOADER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.h"
#include "models/model.h"
#include "tensor/buffer.h"
#include "tensor/slice.h"
#include "weights/checkpoint.h"

namespace hopskip {

// How the ranks of a world share a tensor (as in Megatron-LM, arXiv 1909.08053, section 3).
enum class Split : uint8_t {
  kNone,  // each has all of it
  kOut,   // each has a run of a matrix's outputs, or of a vector: what it computes is its own
  kIn,    // each has a run of a matrix's inputs: what they compute adds up to the whole
};

// Sizes are those of this rank's part: the checkpoint's tensor is as many times larger in the split
// dimension as there are ranks. Every error names the tensor and the checkpoint: NotFound where it
// is missing, Corrupt with the expected and the found shape where it has another one, Unsupported
// where a split would cut blocks of a quantised format.
class Loader {
 public:
  // Tensors that were looked up, and what they take; of split ones this rank's part.
  struct Plan {
    std::vector<TensorView> parts;  // for Backend::check_fits(): without data where they are split
    int64_t bytes() const;
  };
  // Host memory that weights may lie in, where a split took a copy; must outlive them.
  using Memory = std::shared_ptr<std::vector<Buffer>>;

  // A loader that fills the plan and loads nothing: all weights are null.
  Loader(const Checkpoint& checkpoint, Backend& backend, Plan& plan)
      : checkpoint_(checkpoint), backend_(backend), plan_(&plan) {}
  // One that loads what a plan holds. on_load must outlive the loader and those made from it.
  Loader(const Checkpoint& checkpoint, Backend& backend, const Plan& planned,
         const LoadProgress& on_load)
      : checkpoint_(checkpoint),
        backend_(backend),
        progress_(new Progress{on_load, 0, planned.bytes()}) {}

  // The same, with names below `scope`, e.g. "self_attn.".
  Loader in(std::string_view scope) const {
    Loader inner = *this;
    inner.prefix_ += scope;
    return inner;
  }

  const Checkpoint& checkpoint() const { return checkpoint_; }
  Backend& backend() const { return backend_; }
  World world() const { return backend_.world(); }
  const Memory& memory() const { return memory_; }

  WeightPtr matrix(std::string_view name, int64_t out, int64_t in,
                   Split split = Split::kNone) const;
  WeightPtr vector(std::string_view name, int64_t size, Split split = Split::kNone) const;
  // "experts.E.<name>" of every expert E < count, each [out, in], as one weight for Backend::moe().
  WeightPtr experts(std::string_view name, int64_t count, int64_t out, int64_t in,
                    Split split) const;
  // The bias of a matrix that is split in this way; nullptr where the model has none. Parts of a
  // sum get it once: for Split::kIn, nullptr on all ranks but the first.
  WeightPtr bias_if(bool present, std::string_view name, int64_t size, Split of_matrix) const {
    if (!present || (of_matrix == Split::kIn && !world().is_first())) {
      return nullptr;
    }
    return vector(name, size, of_matrix == Split::kOut ? Split::kOut : Split::kNone);
  }
  // nullptr where the model has no such vector.
  WeightPtr vector_if(bool present, std::string_view name, int64_t size) const {
    return present ? vector(name, size) : nullptr;
  }

 private:
  struct Progress {
    const LoadProgress& on_load;
    int64_t done, total;
  };

  // The part [out][in], or [out] where `in` is 0, of a tensor of the checkpoint, and that tensor.
  struct Part {
    TensorSlice slice;
    const TensorView* whole;
  };
  Part part(const std::string& name, int64_t out, int64_t in, Split split) const;
  WeightPtr load(std::string_view name, int64_t out, int64_t in, Split split) const;
  // The weight; the file's pages behind the parts are given back where they have been copied, and
  // the progress is told.
  WeightPtr loaded(WeightPtr weight, std::span<Part> parts) const;

  const Checkpoint& checkpoint_;
  Backend& backend_;
  Plan* plan_ = nullptr;  // not null: only looks
  std::shared_ptr<Progress> progress_;
  Memory memory_ = std::make_shared<std::vector<Buffer>>();
  std::string prefix_;
};

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_LAYERS_LOADER_H_
