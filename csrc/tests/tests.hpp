// Counted checks that say what differed, and the kernels as functions from vectors to vectors.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "fastes/dispatch.hpp"
#include "fastes/passes.hpp"
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

// An array that begins one element after what suits a vector, with a mark on either side that no kernel may touch.
template <class T>
class Unaligned {
public:
    explicit Unaligned(std::size_t count) : memory_(count + 2, mark) {}
    explicit Unaligned(const std::vector<T>& values) : memory_(1, mark) {
        memory_.insert(memory_.end(), values.begin(), values.end());
        memory_.push_back(mark);
    }
    T* data() { return memory_.data() + 1; }
    std::vector<T> values() const {
        if (memory_.front() != mark || memory_.back() != mark) CHECK(false, "written outside of an array");
        return {memory_.begin() + 1, memory_.end() - 1};
    }

private:
    static constexpr T mark{77};
    std::vector<T> memory_;
};

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
        Unaligned<float> out(dim);
        const auto key = keys();
        spread([&](const Span& span) { kernels().fill(address, key[0], span, out.data()); });
        return out.values();
    }

    template <class T>
    std::vector<T> perturb(const std::vector<float>& theta, const std::vector<float>& scales, OutputType type) const {
        Unaligned<float> center(theta);
        Unaligned<T> out(rows.size() * dim);
        const auto key = keys();
        const Perturb args{center.data(), rows.data(), key.data(), scales.data(), rows.size(), out.data(), dim, type};
        spread([&](const Span& span) { kernels().perturb(address, args, span); });
        return out.values();
    }

    std::vector<float> weighted_sum(const std::vector<float>& weights) const {
        Unaligned<float> out(dim);
        const auto key = keys();
        const WeightedRows weighted{key.data(), weights.data(), rows.size()};
        spread([&](const Span& span) { kernels().weighted_sum(address, weighted, span, out.data()); });
        return out.values();
    }

    // `step` holds the numbers; its pointers are set here. In place, as a long run would do it.
    SgdState sgd_step(const std::vector<float>& weights, const SgdState& state, SgdStep step) const {
        Unaligned<float> theta(state.theta), momentum(state.momentum);
        step.theta_in = step.theta_out = theta.data();
        if (!state.momentum.empty()) step.momentum_in = step.momentum_out = momentum.data();
        const auto key = keys();
        const WeightedRows weighted{key.data(), weights.data(), rows.size()};
        spread([&](const Span& span) { kernels().sgd_step(address, weighted, span, step); });
        return {theta.values(), momentum.values()};
    }

    AdamState adam_step(const std::vector<float>& weights, const AdamState& state, AdamStep step) const {
        Unaligned<float> theta(state.theta), m(state.m), v(state.v);
        step.theta_in = step.theta_out = theta.data();
        step.m_in = step.m_out = m.data();
        step.v_in = step.v_out = v.data();
        const auto key = keys();
        const WeightedRows weighted{key.data(), weights.data(), rows.size()};
        spread([&](const Span& span) { kernels().adam_step(address, weighted, span, step); });
        return {theta.values(), m.values(), v.values()};
    }

    ClipUpState clipup_step(const std::vector<float>& weights, const ClipUpState& state, ClipUpStep step) const {
        Unaligned<float> theta(state.theta), velocity(state.velocity);
        step.theta_in = step.theta_out = theta.data();
        step.velocity_in = step.velocity_out = velocity.data();
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
void test_low_rank();
void test_floating_point_environment();
void test_fork();

}  // namespace fastes::tests
