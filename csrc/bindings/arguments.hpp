// Checks at the boundary between Python and the kernels. Each failure names the argument, what it was, and the remedy.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "fastes/kernel_table.hpp"

namespace fastes::bindings {

namespace py = pybind11;

// An array in a GPU's memory, as Python describes it. Nothing is known of what it holds.
struct DeviceArray {
    std::uintptr_t pointer;
    std::vector<py::ssize_t> shape;
    std::string dtype;
    std::size_t itemsize;
    bool contiguous, writeable;

    std::size_t size() const;
};

enum class Element { float32, uint32, int64, other };

// What the checks see of an array, wherever its memory is. It has to outlive this.
class Array {
public:
    Array(const py::array& array);    // NOLINT(google-explicit-constructor): the checks take both
    Array(const DeviceArray& array);  // NOLINT(google-explicit-constructor)

    std::string dtype() const;
    std::string shape_text() const;
    std::size_t bytes() const { return size * itemsize; }
    std::size_t side(int dimension) const { return static_cast<std::size_t>(shape[dimension]); }

    void* data;
    const py::ssize_t* shape;
    int dimensions;
    std::size_t size, itemsize;
    Element element;
    bool contiguous, aligned, writeable;

private:
    const py::array* here_ = nullptr;
    const DeviceArray* there_ = nullptr;
};

// An integer (anything with __index__) in [0, limit]; ValueError or TypeError otherwise.
std::uint64_t integer(const py::handle& value, const char* name, std::uint64_t limit);

Kind kind_of(const py::handle& name);

Address address(const py::handle& seed, const py::handle& generation, const py::handle& stream, const py::handle& kind);

// First element's offset, with offset + dim <= max_elements and dim >= 1 checked; name: what dim is called.
std::uint64_t checked_offset(const py::handle& offset, std::uint64_t dim, const std::string& name = "dim");

void require_contiguous(const Array& array, const char* name);

// A C-contiguous float32 array of `dimensions` dimensions; TypeError or ValueError otherwise.
const float* floats(const Array& array, const char* name, int dimensions = 1);

// The same, written to: it must be writeable and of `size` elements in all.
void* writeable(const Array& array, const char* name, std::size_t itemsize, std::uint64_t size);
float* writeable_floats(const Array& array, const char* name, std::uint64_t size);

struct Named {
    const Array* array;
    const char* name;
};

// ValueError when the arrays share memory; equal = true lets them be the same memory from end to end.
void no_overlap(const Named& out, const Named& in, bool equal = false);

void same_length(std::size_t a, const char* a_name, std::size_t b, const char* b_name);

// K row numbers, uint32 or int64, whose values are not looked at.
struct RowArray {
    const void* numbers;
    bool wide;
    std::size_t count;
};

RowArray row_array(const Array& rows);

// Weights with their rows, as many as these.
struct WeightedArray {
    RowArray rows;
    const float* weights;
};

WeightedArray weighted_array(const Array& weights, const Array& rows);

OutputType output_type(const std::string& name);

// Row numbers as uint32, read in place when they are that already; int64 ones are checked and copied.
class Rows {
public:
    explicit Rows(const RowArray& rows);
    const std::uint32_t* data() const { return data_; }
    std::size_t size() const { return size_; }

private:
    std::vector<std::uint32_t> copy_;
    const std::uint32_t* data_;
    std::size_t size_;
};

// Rows with the keys of their noise.
std::vector<RowKey> row_keys(const Address& address, const Rows& rows);

}  // namespace fastes::bindings
