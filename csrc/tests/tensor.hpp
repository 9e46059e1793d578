// The low-rank kernels as functions from vectors to vectors.
#pragma once

#include "tests.hpp"

namespace fastes::tests {

// Low-rank noise of one tensor for some rows, on the instruction set in use and up to num_threads() threads.
struct Tensor {
    Address address;
    std::vector<std::uint32_t> rows;
    LowRank shape;

    std::size_t size() const { return shape.m * shape.n; }

    std::vector<float> factors() const {
        Guarded<float> out(rows.size() * shape.factor_elements());
        if (target.gpu) {
            carry_out(device::fill(address, DeviceRows(rows).view(), shape.first, shape.factor_elements(), out.data()));
            return out.values();
        }
        low_rank_factors(address, row_keys(address, rows).data(), rows.size(), shape, out.data());
        return out.values();
    }

    template <class T>
    std::vector<T> perturb(const std::vector<float>& theta, const std::vector<float>& scales, OutputType type) const {
        Guarded<float> center(theta);
        Guarded<T> out(rows.size() * size());
        if (target.gpu) {
            carry_out(device::low_rank_perturb(*target.gpu, address, DeviceRows(rows).view(), shape, center.data(),
                                               scales.data(), out.data(), type));
            return out.values();
        }
        low_rank_perturb(address, row_keys(address, rows).data(), scales.data(), rows.size(), shape, center.data(),
                         out.data(), type);
        return out.values();
    }

    std::vector<float> sum(const std::vector<float>& weights) const {
        Guarded<float> out(size());
        if (target.gpu) {
            const DeviceRows numbers(rows);
            carry_out(device::low_rank_sum(*target.gpu, address, {numbers.view(), weights.data()}, shape, out.data()));
            return out.values();
        }
        const auto keys = row_keys(address, rows);
        low_rank_sum(address, {keys.data(), weights.data(), rows.size()}, shape, out.data());
        return out.values();
    }

    // y, [rows.size() of_member][m], after each member's noise was applied to its rows of x.
    template <class T>
    std::vector<T> apply(const std::vector<T>& x, const std::vector<T>& y, const std::vector<float>& scales,
                         OutputType type) const {
        Guarded<T> in(x), out(y);
        const std::size_t count = x.size() / shape.n;
        const LayerRows layer{in.data(), out.data(), type, count, count / rows.size()};
        if (target.gpu) {
            const DeviceRows numbers(rows);
            carry_out(device::low_rank_apply(*target.gpu, address, numbers.view(), scales.data(), shape, layer));
            return out.values();
        }
        low_rank_apply(address, rows.data(), row_keys(address, rows).data(), scales.data(), shape, layer);
        return out.values();
    }
};

}  // namespace fastes::tests
