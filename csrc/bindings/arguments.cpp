#include "arguments.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "fastes/dispatch.hpp"

namespace fastes::bindings {
namespace {

Element element_of(const py::dtype& dtype) {
    if (dtype.byteorder() != '=') return Element::other;
    const int number = dtype.normalized_num();
    if (number == py::dtype::num_of<float>()) return Element::float32;
    if (number == py::dtype::num_of<std::uint32_t>()) return Element::uint32;
    return number == py::dtype::num_of<std::int64_t>() ? Element::int64 : Element::other;
}

Element element_of(const std::string& dtype) {
    if (dtype == "float32") return Element::float32;
    if (dtype == "uint32") return Element::uint32;
    return dtype == "int64" ? Element::int64 : Element::other;
}

}  // namespace

std::size_t DeviceArray::size() const {
    std::size_t elements = 1;
    for (const py::ssize_t side : shape) elements *= static_cast<std::size_t>(side);
    return elements;
}

Array::Array(const py::array& array)
    : data(const_cast<void*>(array.data())),
      shape(array.shape()),
      dimensions(static_cast<int>(array.ndim())),
      size(static_cast<std::size_t>(array.size())),
      itemsize(static_cast<std::size_t>(array.itemsize())),
      element(element_of(array.dtype())),
      contiguous((array.flags() & py::array::c_style) != 0),
      aligned((array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0),
      writeable(array.writeable()),
      here_(&array) {}

Array::Array(const DeviceArray& array)
    : data(reinterpret_cast<void*>(array.pointer)),
      shape(array.shape.data()),
      dimensions(static_cast<int>(array.shape.size())),
      size(array.size()),
      itemsize(array.itemsize),
      element(element_of(array.dtype)),
      contiguous(array.contiguous),
      aligned(array.pointer % std::bit_floor(std::max<std::size_t>(array.itemsize, 1)) == 0),
      writeable(array.writeable),
      there_(&array) {}

std::string Array::dtype() const {
    return here_ != nullptr ? std::string(py::str(here_->dtype())) : there_->dtype;
}

std::string Array::shape_text() const {
    std::string text = "(";
    for (int i = 0; i < dimensions; ++i) text += (i != 0 ? ", " : "") + std::to_string(shape[i]);
    return text + (dimensions == 1 ? ",)" : ")");
}

std::uint64_t integer(const py::handle& value, const char* name, std::uint64_t limit) {
    if (PyLong_CheckExact(value.ptr()) != 0) {  // the same without detours
        const long long number = PyLong_AsLongLong(value.ptr());
        if (number >= 0 && static_cast<std::uint64_t>(number) <= limit) return static_cast<std::uint64_t>(number);
        PyErr_Clear();
    }
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
    if (!index) {
        PyErr_Clear();
        throw py::type_error(std::string(name) + " must be an integer, not " + Py_TYPE(value.ptr())->tp_name + ".");
    }
    const std::uint64_t number = PyLong_AsUnsignedLongLong(index.ptr());
    if (PyErr_Occurred() != nullptr || number > limit) {
        PyErr_Clear();
        throw py::value_error(std::string(name) + " must be from 0 to " + std::to_string(limit) + ", not " +
                              std::string(py::str(index)) + ".");
    }
    return number;
}

Kind kind_of(const py::handle& name) {
    const auto is = [&](const char* kind) {
        return PyUnicode_Check(name.ptr()) && PyUnicode_CompareWithASCIIString(name.ptr(), kind) == 0;
    };
    if (is("normal")) return Kind::normal;
    if (is("rademacher")) return Kind::rademacher;
    if (is("normal8")) return Kind::normal8;
    throw py::value_error("kind must be one of normal, rademacher, normal8, not " + std::string(py::repr(name)) + ".");
}

OutputType output_type(const std::string& name) {
    if (name == "float32") return OutputType::float32;
    if (name == "float16") return OutputType::float16;
    if (name == "bfloat16") return OutputType::bfloat16;
    throw py::type_error("out must be float32, float16 or bfloat16, not " + name + ".");
}

Address address(const py::handle& seed, const py::handle& generation, const py::handle& stream,
                const py::handle& kind) {
    constexpr auto limit32 = std::numeric_limits<std::uint32_t>::max();
    return {integer(seed, "seed", std::numeric_limits<std::uint64_t>::max()),
            static_cast<std::uint32_t>(integer(stream, "stream", limit32)),
            static_cast<std::uint32_t>(integer(generation, "generation", limit32)), kind_of(kind)};
}

std::uint64_t checked_offset(const py::handle& offset, std::uint64_t dim, const std::string& name) {
    if (dim == 0) throw py::value_error(name + " must be at least 1: there are no elements to make noise for.");
    const std::uint64_t first = integer(offset, "offset", max_elements - 1);
    if (dim > max_elements - first) {
        throw py::value_error("offset + " + name + " must be at most 2^34 = " + std::to_string(max_elements) +
                              ", not " + std::to_string(first + dim) + "; use another stream for more elements.");
    }
    return first;
}

void require_contiguous(const Array& array, const char* name) {
    const std::string text = name;
    if (!array.contiguous) {
        throw py::value_error(text + " must be C-contiguous; pass numpy.ascontiguousarray(" + text +
                              ") or tensor.contiguous().");
    }
    if (!array.aligned) {
        throw py::value_error(text + " is not aligned to its element size; pass a copy, numpy.array(" + text + ").");
    }
}

const float* floats(const Array& array, const char* name, int dimensions) {
    if (array.element != Element::float32) {
        throw py::type_error(std::string(name) + " must be float32, not " + array.dtype() + ".");
    }
    if (array.dimensions != dimensions) {
        throw py::value_error(std::string(name) + " must have " + std::to_string(dimensions) +
                              (dimensions == 1 ? " dimension" : " dimensions") + ", not shape " + array.shape_text() +
                              ".");
    }
    require_contiguous(array, name);
    return static_cast<const float*>(array.data);
}

void* writeable(const Array& array, const char* name, std::size_t itemsize, std::uint64_t size) {
    if (array.itemsize != itemsize) {
        throw py::type_error(std::string(name) + " has the wrong dtype: " + array.dtype() + ".");
    }
    if (array.size != size) {
        throw py::value_error(std::string(name) + " must hold " + std::to_string(size) + " elements, not shape " +
                              array.shape_text() + ".");
    }
    require_contiguous(array, name);
    if (!array.writeable) throw py::value_error(std::string(name) + " is read-only; pass a writeable array.");
    return array.data;
}

float* writeable_floats(const Array& array, const char* name, std::uint64_t size) {
    floats(array, name);
    return static_cast<float*>(writeable(array, name, sizeof(float), size));
}

void no_overlap(const Named& out, const Named& in, bool equal) {
    const auto* a = static_cast<const char*>(out.array->data);
    const auto* b = static_cast<const char*>(in.array->data);
    if (equal && a == b && out.array->bytes() == in.array->bytes()) return;
    if (a < b + in.array->bytes() && b < a + out.array->bytes()) {
        throw py::value_error(std::string(out.name) + " shares memory with " + in.name +
                              ", which would be overwritten while it is read; pass another array.");
    }
}

void same_length(std::size_t a, const char* a_name, std::size_t b, const char* b_name) {
    if (a != b) {
        throw py::value_error(std::string(a_name) + " and " + b_name + " must have the same length, not " +
                              std::to_string(a) + " and " + std::to_string(b) + ".");
    }
}

RowArray row_array(const Array& rows) {
    if (rows.dimensions != 1) {
        throw py::value_error("rows must have 1 dimension, not shape " + rows.shape_text() + ".");
    }
    require_contiguous(rows, "rows");
    if (rows.element != Element::uint32 && rows.element != Element::int64) {
        throw py::type_error("rows must be uint32 or int64, not " + rows.dtype() + ".");
    }
    return {rows.data, rows.element == Element::int64, rows.size};
}

WeightedArray weighted_array(const Array& weights, const Array& rows) {
    const float* numbers = floats(weights, "weights");
    const WeightedArray weighted{row_array(rows), numbers};
    same_length(weights.size, "weights", weighted.rows.count, "rows");
    return weighted;
}

Rows::Rows(const RowArray& rows) : data_(nullptr), size_(rows.count) {
    if (!rows.wide) {
        data_ = static_cast<const std::uint32_t*>(rows.numbers);
        return;
    }
    const auto* wide = static_cast<const std::int64_t*>(rows.numbers);
    copy_.resize(size_);
    for (std::size_t k = 0; k < size_; ++k) {
        if (wide[k] < 0 || wide[k] > std::int64_t{std::numeric_limits<std::uint32_t>::max()}) {
            throw py::value_error("rows must be from 0 to 2^32 - 1; rows[" + std::to_string(k) + "] is " +
                                  std::to_string(wide[k]) + ".");
        }
        copy_[k] = static_cast<std::uint32_t>(wide[k]);
    }
    data_ = copy_.data();
}

std::vector<RowKey> row_keys(const Address& address, const Rows& rows) {
    std::vector<RowKey> keys(rows.size());
    kernels().row_keys(address, rows.data(), rows.size(), keys.data());
    return keys;
}

}  // namespace fastes::bindings
