// Counted checks that say what differed, and the kernels as functions from vectors to vectors.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "device/simulation.hpp"
#include "fastes/dispatch.hpp"
#include "fastes/passes.hpp"
#include "fastes/plan.hpp"
#include "fastes/threads.hpp"

#define CHECK(condition, what)                                                                         \
    do {                                                                                               \
        if (condition) {                                                                               \
            ++fastes::tests::passed;                                                                   \
        } else {                                                                                       \
            ++fastes::tests::failed;                                                                   \
            std::printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, std::string(what).c_str()); \
        }                                                                                              \
    } while (false)

namespace fastes::tests {

inline int passed = 0, failed = 0;

inline std::uint32_t bits(float x) {
    return std::bit_cast<std::uint32_t>(x);
}
inline std::uint32_t bits(std::uint16_t x) {
    return x;
}
inline std::uint32_t bits(std::uint32_t x) {
    return x;
}
inline float from_bits(std::uint32_t x) {
    return std::bit_cast<float>(x);
}

// One check: equal to the bit, or the first place where they are not.
template <class T>
void check_same(const std::vector<T>& expected, const std::vector<T>& actual, const std::string& what) {
    std::string difference = expected.size() == actual.size() ? "" : "another size";
    for (std::size_t i = 0; difference.empty() && i < expected.size(); ++i) {
        if (bits(expected[i]) == bits(actual[i])) continue;
        char text[80];
        std::snprintf(text, sizeof text, "element %zu is %08x, not %08x", i, bits(actual[i]), bits(expected[i]));
        difference = text;
    }
    CHECK(difference.empty(), what + ": " + difference);
}

// Where the functions below make their results: on the CPU, or on a GPU that the CPU simulates.
struct Target {
    std::optional<device::Processor> gpu;
    bool aligned = false;         // arrays begin on 16 bytes, not one element later
    std::uint32_t row_words = 1;  // of a row number in a GPU's memory
};
inline Target target;

// An array with marks on either side that no kernel may touch.
template <class T>
class Guarded {
public:
    explicit Guarded(std::size_t count) : memory_(lead_ + count + lead_, mark) {}
    explicit Guarded(const std::vector<T>& values) : Guarded(values.size()) {
        std::copy(values.begin(), values.end(), memory_.begin() + lead_);
    }
    T* data() { return memory_.data() + lead_; }
    std::vector<T> values() const {
        const auto lead = static_cast<std::ptrdiff_t>(lead_);
        const auto is_mark = [](T x) { return x == mark; };
        if (!std::all_of(memory_.begin(), memory_.begin() + lead, is_mark) ||
            !std::all_of(memory_.end() - lead, memory_.end(), is_mark)) {
            CHECK(false, "written outside of an array");
        }
        return {memory_.begin() + lead, memory_.end() - lead};
    }

private:
    static constexpr T mark{77};
    std::ptrdiff_t lead_ = target.aligned ? 16 / sizeof(T) : 1;  // operator new aligns to 16 bytes
    std::vector<T> memory_;
};

// Row numbers as a GPU takes them.
class DeviceRows {
public:
    explicit DeviceRows(const std::vector<std::uint32_t>& rows) : count_(rows.size()) {
        for (const std::uint32_t row : rows) {
            numbers_.push_back(row);
            if (target.row_words == 2) numbers_.push_back(0xFFFFFFFFu);
        }
        numbers_.push_back(0);  // never empty
    }
    device::Rows view() const { return {numbers_.data(), target.row_words, count_}; }

private:
    std::vector<std::uint32_t> numbers_;
    std::uint64_t count_;
};

inline void carry_out(const device::Plan& plan) {
    constexpr std::size_t guard = 16;
    std::vector<std::byte> scratch(plan.scratch_bytes + 2 * guard, std::byte{0xCB});
    for (const device::Launch& launch : plan.launches(scratch.data() + guard)) device::simulate(launch);
    for (std::size_t i = 0; i < guard; ++i) {
        if (scratch[i] != std::byte{0xCB} || scratch[scratch.size() - 1 - i] != std::byte{0xCB}) {
            CHECK(false, "written outside of the scratch memory");
        }
    }
}

// ramp(j) of csrc/testdata: exact in float32, between -8 and 8.
inline float ramp(std::size_t j) {
    const std::uint32_t hash = 2654435761u * static_cast<std::uint32_t>(j);
    return static_cast<float>(static_cast<std::int32_t>(hash >> 8) - (1 << 23)) / 1048576.0f;
}

inline std::vector<float> ramps(std::size_t count) {
    std::vector<float> values(count);
    for (std::size_t j = 0; j < count; ++j) values[j] = ramp(j);
    return values;
}

inline constexpr Kind kinds[] = {Kind::normal, Kind::rademacher, Kind::normal8};

inline const char* name_of(Kind kind) {
    return kind == Kind::normal ? "normal" : kind == Kind::rademacher ? "rademacher" : "normal8";
}

struct AdamState {
    std::vector<float> theta, m, v;
};

struct SgdState {
    std::vector<float> theta, momentum;  // momentum is empty without it
};

struct ClipUpState {
    std::vector<float> theta, velocity;
};

struct SnesState {
    std::vector<float> theta, sigma;
};

struct Sums {
    std::vector<float> g, h;
};

inline std::vector<RowKey> row_keys(const Address& address, const std::vector<std::uint32_t>& rows) {
    std::vector<RowKey> keys(rows.size());
    kernels().row_keys(address, rows.data(), rows.size(), keys.data());
    return keys;
}

// Elements [offset, offset + dim) of some rows, on the instruction set in use and up to num_threads() threads.
struct Noise {
    Address address;
    std::vector<std::uint32_t> rows;
    std::uint64_t offset;
    std::size_t dim;

    std::vector<float> normal() const {  // of the first row
        Guarded<float> out(dim);
        if (target.gpu) {
            carry_out(device::fill(address, {nullptr, 1, 1, rows[0]}, offset, dim, out.data()));
            return out.values();
        }
        const auto key = keys();
        spread([&](const Span& span) { kernels().fill(address, key[0], span, out.data()); });
        return out.values();
    }

    template <class T>
    std::vector<T> perturb(const std::vector<float>& theta, const std::vector<float>& scales, OutputType type,
                           const std::vector<float>& sigma = {}) const {
        Guarded<float> center(theta), each(sigma);
        Guarded<T> out(rows.size() * dim);
        const auto key = keys();
        const Perturb args{center.data(), rows.data(), key.data(),
                           scales.data(), rows.size(), out.data(),
                           dim,           type,        sigma.empty() ? nullptr : each.data()};
        if (target.gpu) {
            carry_out(device::perturb(*target.gpu, address, DeviceRows(rows).view(), offset, args));
            return out.values();
        }
        spread([&](const Span& span) { kernels().perturb(address, args, span); });
        return out.values();
    }

    std::vector<float> weighted_sum(const std::vector<float>& weights) const {
        Guarded<float> out(dim);
        if (target.gpu) {
            const DeviceRows numbers(rows);
            carry_out(
                device::weighted_sum(*target.gpu, address, {numbers.view(), weights.data()}, offset, dim, out.data()));
            return out.values();
        }
        const auto key = keys();
        const WeightedRows weighted{key.data(), weights.data(), rows.size()};
        spread([&](const Span& span) { kernels().weighted_sum(address, weighted, span, out.data()); });
        return out.values();
    }

    Sums weighted_sums(const std::vector<float>& weights, const std::vector<float>& square_weights) const {
        Guarded<float> g(dim), h(dim);
        if (target.gpu) {
            const DeviceRows numbers(rows);
            carry_out(device::weighted_sums(*target.gpu, address, {numbers.view(), weights.data()},
                                            square_weights.data(), offset, dim, g.data(), h.data()));
            return {g.values(), h.values()};
        }
        const auto key = keys();
        const WeightedRows weighted{key.data(), weights.data(), rows.size()};
        spread([&](const Span& span) {
            kernels().weighted_sums(address, weighted, square_weights.data(), span, g.data(), h.data());
        });
        return {g.values(), h.values()};
    }

    // `step` holds the numbers; its pointers are set here. In place, as a long run would do it.
    SnesState snes_step(const std::vector<float>& weights, const SnesState& state, SnesStep step) const {
        Guarded<float> theta(state.theta), sigma(state.sigma);
        step.theta_in = step.theta_out = theta.data();
        step.sigma_in = step.sigma_out = sigma.data();
        if (target.gpu) {
            const DeviceRows numbers(rows);
            carry_out(device::snes_step(*target.gpu, address, {numbers.view(), weights.data()}, offset, dim, step));
            return {theta.values(), sigma.values()};
        }
        const auto key = keys();
        const WeightedRows weighted{key.data(), weights.data(), rows.size()};
        spread([&](const Span& span) { kernels().snes_step(address, weighted, span, step); });
        return {theta.values(), sigma.values()};
    }

    SgdState sgd_step(const std::vector<float>& weights, const SgdState& state, SgdStep step) const {
        Guarded<float> theta(state.theta), momentum(state.momentum);
        step.theta_in = step.theta_out = theta.data();
        if (!state.momentum.empty()) step.momentum_in = step.momentum_out = momentum.data();
        if (target.gpu) {
            const DeviceRows numbers(rows);
            carry_out(device::sgd_step(*target.gpu, address, {numbers.view(), weights.data()}, offset, dim, step));
            return {theta.values(), momentum.values()};
        }
        const auto key = keys();
        const WeightedRows weighted{key.data(), weights.data(), rows.size()};
        spread([&](const Span& span) { kernels().sgd_step(address, weighted, span, step); });
        return {theta.values(), momentum.values()};
    }

    AdamState adam_step(const std::vector<float>& weights, const AdamState& state, AdamStep step) const {
        Guarded<float> theta(state.theta), m(state.m), v(state.v);
        step.theta_in = step.theta_out = theta.data();
        step.m_in = step.m_out = m.data();
        step.v_in = step.v_out = v.data();
        if (target.gpu) {
            const DeviceRows numbers(rows);
            carry_out(device::adam_step(*target.gpu, address, {numbers.view(), weights.data()}, offset, dim, step));
            return {theta.values(), m.values(), v.values()};
        }
        const auto key = keys();
        const WeightedRows weighted{key.data(), weights.data(), rows.size()};
        spread([&](const Span& span) { kernels().adam_step(address, weighted, span, step); });
        return {theta.values(), m.values(), v.values()};
    }

    ClipUpState clipup_step(const std::vector<float>& weights, const ClipUpState& state, ClipUpStep step) const {
        Guarded<float> theta(state.theta), velocity(state.velocity);
        step.theta_in = step.theta_out = theta.data();
        step.velocity_in = step.velocity_out = velocity.data();
        if (target.gpu) {
            const DeviceRows numbers(rows);
            carry_out(device::clipup_step(*target.gpu, address, {numbers.view(), weights.data()}, offset, dim, step));
            return {theta.values(), velocity.values()};
        }
        const auto key = keys();
        fastes::clipup_step(address, {key.data(), weights.data(), rows.size()}, offset, dim, step);
        return {theta.values(), velocity.values()};
    }

private:
    std::vector<RowKey> keys() const { return row_keys(address, rows); }

    template <class Body>
    void spread(const Body& body) const {
        for_spans(offset, dim, static_cast<double>(dim) * static_cast<double>(rows.size()), body);
    }
};

// Steps along a gradient that is there: a weighted sum's, so that they must be the fused steps.
template <class Body>
void for_elements(std::size_t dim, const Body& body) {
    for_spans(0, dim, static_cast<double>(dim), body);
}

inline SgdState sgd_apply(const std::vector<float>& uphill, const SgdState& state, SgdStep step) {
    Guarded<float> gradient(uphill), theta(state.theta), momentum(state.momentum);
    step.theta_in = step.theta_out = theta.data();
    if (!state.momentum.empty()) step.momentum_in = step.momentum_out = momentum.data();
    if (target.gpu) {
        carry_out(device::sgd_apply(gradient.data(), uphill.size(), step));
        return {theta.values(), momentum.values()};
    }
    for_elements(uphill.size(), [&](const Span& span) { kernels().sgd_apply(gradient.data(), span, step); });
    return {theta.values(), momentum.values()};
}

inline AdamState adam_apply(const std::vector<float>& uphill, const AdamState& state, AdamStep step) {
    Guarded<float> gradient(uphill), theta(state.theta), m(state.m), v(state.v);
    step.theta_in = step.theta_out = theta.data();
    step.m_in = step.m_out = m.data();
    step.v_in = step.v_out = v.data();
    if (target.gpu) {
        carry_out(device::adam_apply(gradient.data(), uphill.size(), step));
        return {theta.values(), m.values(), v.values()};
    }
    for_elements(uphill.size(), [&](const Span& span) { kernels().adam_apply(gradient.data(), span, step); });
    return {theta.values(), m.values(), v.values()};
}

inline ClipUpState clipup_apply(const std::vector<float>& uphill, const ClipUpState& state, ClipUpStep step) {
    Guarded<float> gradient(uphill), theta(state.theta), velocity(state.velocity);
    std::vector<double> sums(3 * clipup_blocks(uphill.size()));
    step.theta_in = step.theta_out = theta.data();
    step.velocity_in = step.velocity_out = velocity.data();
    step.gradient = gradient.data();
    step.sums = sums.data();
    for_elements(uphill.size(), [&](const Span& span) { kernels().clipup_sums(gradient.data(), span, step); });
    fastes::clipup_apply(uphill.size(), clipup_blocks(uphill.size()), step);
    return {theta.values(), velocity.values()};
}

// `count` rows from `first`, modulo 2^32.
inline std::vector<std::uint32_t> rows_from(std::uint32_t first, std::size_t count) {
    std::vector<std::uint32_t> rows(count);
    for (std::size_t k = 0; k < count; ++k) rows[k] = first + static_cast<std::uint32_t>(k);
    return rows;
}

void test_golden();
void test_kernels();
void test_rounding();
void test_threads();
void test_clipup_in_place();
void test_given_gradients();
void test_low_rank();
void test_low_rank_apply();
void test_floating_point_environment();
void test_fork();
void test_device();
void test_episodes();
void test_mlp();
void test_rollout();

}  // namespace fastes::tests
