#include "arguments.hpp"

#include <limits>

#include "fastes/dispatch.hpp"

namespace fastes::bindings {
namespace {

std::string shape_of(const py::array& array) {
    std::string text = "(";
    for (py::ssize_t i = 0; i < array.ndim(); ++i) text += (i != 0 ? ", " : "") + std::to_string(array.shape(i));
    return text + (array.ndim() == 1 ? ",)" : ")");
}

std::string dtype_of(const py::array& array) {
    return py::str(array.dtype());
}

void require_contiguous(const py::array& array, const std::string& name) {
    if ((array.flags() & py::array::c_style) == 0) {
        throw py::value_error(name + " must be C-contiguous; pass numpy.ascontiguousarray(" + name +
                              ") or tensor.contiguous().");
    }
    if ((array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0) {
        throw py::value_error(name + " is not aligned to its element size; pass a copy, numpy.array(" + name + ").");
    }
}

bool is_float32(const py::array& array) {
    return array.dtype().equal(py::dtype::of<float>());
}

}  // namespace

std::uint64_t integer(const py::handle& value, const char* name, std::uint64_t limit) {
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

const float* floats(const py::array& array, const char* name, int dimensions) {
    if (!is_float32(array)) {
        throw py::type_error(std::string(name) + " must be float32, not " + dtype_of(array) + ".");
    }
    if (array.ndim() != dimensions) {
        throw py::value_error(std::string(name) + " must have " + std::to_string(dimensions) +
                              (dimensions == 1 ? " dimension" : " dimensions") + ", not shape " + shape_of(array) +
                              ".");
    }
    require_contiguous(array, name);
    return static_cast<const float*>(array.data());
}

void* writeable(py::array& array, const char* name, std::size_t itemsize, std::uint64_t size) {
    if (static_cast<std::size_t>(array.itemsize()) != itemsize) {
        throw py::type_error(std::string(name) + " has the wrong dtype: " + dtype_of(array) + ".");
    }
    if (static_cast<std::uint64_t>(array.size()) != size) {
        throw py::value_error(std::string(name) + " must hold " + std::to_string(size) + " elements, not shape " +
                              shape_of(array) + ".");
    }
    require_contiguous(array, name);
    if (!array.writeable()) throw py::value_error(std::string(name) + " is read-only; pass a writeable array.");
    return array.mutable_data();
}

float* writeable_floats(py::array& array, const char* name, std::uint64_t size) {
    floats(array, name);
    return static_cast<float*>(writeable(array, name, sizeof(float), size));
}

void no_overlap(const py::array& out, const char* out_name, const py::array& in, const char* in_name, bool equal) {
    const auto* a = static_cast<const char*>(out.data());
    const auto* b = static_cast<const char*>(in.data());
    if (equal && a == b && out.nbytes() == in.nbytes()) return;
    if (a < b + in.nbytes() && b < a + out.nbytes()) {
        throw py::value_error(std::string(out_name) + " shares memory with " + in_name +
                              ", which would be overwritten while it is read; pass another array.");
    }
}

void same_length(std::size_t a, const char* a_name, std::size_t b, const char* b_name) {
    if (a != b) {
        throw py::value_error(std::string(a_name) + " and " + b_name + " must have the same length, not " +
                              std::to_string(a) + " and " + std::to_string(b) + ".");
    }
}

Rows::Rows(const py::array& rows) : data_(nullptr), size_(static_cast<std::size_t>(rows.size())) {
    if (rows.ndim() != 1) throw py::value_error("rows must have 1 dimension, not shape " + shape_of(rows) + ".");
    require_contiguous(rows, "rows");
    if (rows.dtype().equal(py::dtype::of<std::uint32_t>())) {
        data_ = static_cast<const std::uint32_t*>(rows.data());
        return;
    }
    if (!rows.dtype().equal(py::dtype::of<std::int64_t>())) {
        throw py::type_error("rows must be uint32 or int64, not " + dtype_of(rows) + ".");
    }
    const auto* wide = static_cast<const std::int64_t*>(rows.data());
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

RowsAndWeights::RowsAndWeights(const Address& address, const py::array& weights, const py::array& rows)
    : kind_(address.kind), weights_(floats(weights, "weights")) {
    const Rows numbers(rows);
    same_length(static_cast<std::size_t>(weights.size()), "weights", numbers.size(), "rows");
    keys_ = row_keys(address, numbers);
}

std::vector<RowKey> row_keys(const Address& address, const Rows& rows) {
    std::vector<RowKey> keys(rows.size());
    kernels().row_keys(address, rows.data(), rows.size(), keys.data());
    return keys;
}

}  // namespace fastes::bindings
