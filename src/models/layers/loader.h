// Loading named tensors of a checkpoint into a backend, with their shapes checked.
#ifndef HOPSKIP_MODELS_LAYERS_LOADER_H_
#define HOPSKIP_MODELS_LAYERS_LOADER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "kernels/backend.h"
#include "models/model.h"
#include "weights/checkpoint.h"

namespace hopskip {

// Every error names the tensor and the checkpoint: NotFound where it is missing, Corrupt with the
// expected and the found shape where it has another one.
class Loader {
 public:
  // on_load must outlive the loader and those made from it.
  Loader(const Checkpoint& checkpoint, Backend& backend, const LoadProgress& on_load)
      : checkpoint_(checkpoint),
        backend_(backend),
        progress_(new Progress{on_load, 0, checkpoint.tensor_bytes()}) {}

  // The same, with names below `scope`, e.g. "self_attn.".
  Loader in(std::string_view scope) const {
    Loader inner = *this;
    inner.prefix_ += scope;
    return inner;
  }

  WeightPtr matrix(std::string_view name, int64_t out, int64_t in) const;
  WeightPtr vector(std::string_view name, int64_t size) const;
  // "experts.E.<name>" of every expert E < count, each [out, in], as one weight for Backend::moe().
  WeightPtr experts(std::string_view name, int64_t count, int64_t out, int64_t in) const;
  // nullptr where the model has no such vector.
  WeightPtr vector_if(bool present, std::string_view name, int64_t size) const {
    return present ? vector(name, size) : nullptr;
  }

 private:
  struct Progress {
    const LoadProgress& on_load;
    int64_t done, total;
  };

  WeightPtr load(std::string_view name, std::initializer_list<int64_t> shape) const;
  // The weight; the file's pages behind `from` are given back where it is a copy of them, and the
  // progress is told.
  WeightPtr loaded(WeightPtr weight, std::span<const TensorView> from) const;

  const Checkpoint& checkpoint_;
  Backend& backend_;
  std::shared_ptr<Progress> progress_;
  std::string prefix_;
};

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_LAYERS_LOADER_H_
