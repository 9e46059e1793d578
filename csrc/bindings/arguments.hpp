// Checks at the boundary between Python and the kernels. Each failure names the argument, what it was, and the remedy.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fastes/kernel_table.hpp"
#include "fastes/threads.hpp"

namespace fastes::bindings {

namespace py = pybind11;

// An integer (anything with __index__) in [0, limit]; ValueError or TypeError otherwise.
std::uint64_t integer(const py::handle& value, const char* name, std::uint64_t limit);

Kind kind_of(const py::handle& name);

Address address(const py::handle& seed, const py::handle& generation, const py::handle& stream, const py::handle& kind);

// First element's offset, with offset + dim <= max_elements and dim >= 1 checked; name: what dim is called.
std::uint64_t checked_offset(const py::handle& offset, std::uint64_t dim, const std::string& name = "dim");

// A C-contiguous float32 array of `dimensions` dimensions; TypeError or ValueError otherwise.
const float* floats(const py::array& array, const char* name, int dimensions = 1);

// The same, written to: it must be writeable and of `size` elements in all.
void* writeable(py::array& array, const char* name, std::size_t itemsize, std::uint64_t size);
float* writeable_floats(py::array& array, const char* name, std::uint64_t size);

// ValueError when the arrays share memory; equal = true lets them be the same memory from end to end.
void no_overlap(const py::array& out, const char* out_name, const py::array& in, const char* in_name,
                bool equal = false);

void same_length(std::size_t a, const char* a_name, std::size_t b, const char* b_name);

// Row numbers as uint32, read in place when they are that already; int64 ones are checked and copied.
class Rows {
public:
    explicit Rows(const py::array& rows);
    const std::uint32_t* data() const { return data_; }
    std::size_t size() const { return size_; }

private:
    std::vector<std::uint32_t> copy_;
    const std::uint32_t* data_;
    std::size_t size_;
};

// Rows with the keys of their noise.
std::vector<RowKey> row_keys(const Address& address, const Rows& rows);

OutputType output_type(const std::string& name);

// Weights with the keys of their rows.
class RowsAndWeights {
public:
    RowsAndWeights(const Address& address, const py::array& weights, const py::array& rows);
    WeightedRows view() const { return {keys_.data(), weights_, keys_.size()}; }
    double work(std::uint64_t dim) const { return fastes::work(kind_, keys_.size(), dim); }

private:
    Kind kind_;
    std::vector<RowKey> keys_;
    const float* weights_;
};

void register_info(py::module_& module);
void register_noise(py::module_& module);
void register_low_rank(py::module_& module);
void register_optimizers(py::module_& module);

}  // namespace fastes::bindings
