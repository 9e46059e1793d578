// Every kernel on one set of inputs, as one number: what surrounds a call must not change it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor.hpp"

namespace fastes::tests {

// FNV-1a of the bits of all that is added.
class Digest {
public:
    template <class T>
    void add(const std::vector<T>& values) {
        for (const T value : values) hash_ = (hash_ ^ bits(value)) * 0x100000001B3u;
    }
    std::uint64_t value() const { return hash_; }

private:
    std::uint64_t hash_ = 0xCBF29CE484222325u;
};

// All inputs are made here, where nothing is hostile yet. `unit` is their size: 2^-138 makes them subnormal.
class Workload {
public:
    Noise noise;
    std::vector<float> weights, theta;

    Workload(Kind kind, std::size_t dim, std::uint32_t generation = 0, float unit = 1.0f)
        : noise{{0x0123456789ABCDEF, 3, generation, kind}, rows_from(0, 65), 3, dim},
          weights(ramps(65)),
          theta(ramps(dim)) {
        for (float& weight : weights) weight *= unit;
        for (float& x : theta) x *= unit;
        for (const float x : theta) moments_.push_back(x < 0.0f ? -x : x);
        sgd_.lr = 0.01f, sgd_.momentum = 0.9f, sgd_.l2 = 1e-3f, sgd_.decay = 0.999f, sgd_.nesterov = true;
        adam_.step = 0.1f, adam_.v_scale = 31.6f, adam_.epsilon = unit, adam_.l2 = 1e-3f, adam_.decay = 0.999f;
        adam_.beta1 = 0.9f, adam_.one_minus_beta1 = 0.1f, adam_.beta2 = 0.999f, adam_.one_minus_beta2 = 0.001f;
        clipup_.lr = 0.15 * unit, clipup_.momentum = 0.9, clipup_.max_speed = 100.0 * unit;
        clipup_.l2 = 1e-3f, clipup_.decay = 0.999f;
        snes_.lr = 0.5f, snes_.half_lr_sigma = 0x1p-12f / unit;
    }

    std::uint64_t digest() const {
        Digest digest;
        digest.add(noise.normal());
        digest.add(noise.perturb<float>(theta, weights, OutputType::float32));
        digest.add(noise.perturb<std::uint16_t>(theta, weights, OutputType::float16));
        digest.add(noise.perturb<std::uint16_t>(theta, weights, OutputType::bfloat16));
        digest.add(noise.perturb<float>(theta, weights, OutputType::float32, moments_));
        digest.add(noise.weighted_sum(weights));
        const Sums sums = noise.weighted_sums(weights, weights);
        digest.add(sums.g), digest.add(sums.h);
        add_optimizers(digest);
        add_low_rank(digest);
        return digest.value();
    }

private:
    void add_optimizers(Digest& digest) const {
        const SgdState slid = noise.sgd_step(weights, {theta, moments_}, sgd_);
        digest.add(slid.theta), digest.add(slid.momentum);
        const AdamState adapted = noise.adam_step(weights, {theta, theta, moments_}, adam_);
        digest.add(adapted.theta), digest.add(adapted.m), digest.add(adapted.v);
        const ClipUpState clipped = noise.clipup_step(weights, {theta, moments_}, clipup_);
        digest.add(clipped.theta), digest.add(clipped.velocity);
        const SnesState searched = noise.snes_step(weights, {theta, moments_}, snes_);
        digest.add(searched.theta), digest.add(searched.sigma);
        const auto uphill = noise.weighted_sum(weights);
        digest.add(sgd_apply(uphill, {theta, moments_}, sgd_).theta);
        digest.add(adam_apply(uphill, {theta, theta, moments_}, adam_).v);
        digest.add(clipup_apply(uphill, {theta, moments_}, clipup_).velocity);
    }

    void add_low_rank(Digest& digest) const {
        const Tensor tensor{noise.address, noise.rows, {noise.dim / 100, 97, 2, noise.offset}};
        digest.add(tensor.factors());
        digest.add(tensor.sum(weights));
        const Tensor some{noise.address, rows_from(0, 5), tensor.shape};
        const std::vector<float> center(theta.begin(), theta.begin() + static_cast<std::ptrdiff_t>(some.size()));
        digest.add(some.perturb<float>(center, weights, OutputType::float32));
        digest.add(some.perturb<std::uint16_t>(center, weights, OutputType::float16));
        const std::vector<float> x(theta.begin(), theta.begin() + 10 * 97);
        digest.add(some.apply<float>(x, std::vector<float>(10 * some.shape.m, theta[0]), weights, OutputType::float32));
        const std::vector<std::uint16_t> halves(10 * 97, 0x0003);  // subnormal
        digest.add(some.apply<std::uint16_t>(halves, std::vector<std::uint16_t>(10 * some.shape.m, 0x0201), weights,
                                             OutputType::float16));
    }

    std::vector<float> moments_;
    SgdStep sgd_{};
    AdamStep adam_{};
    ClipUpStep clipup_{};
    SnesStep snes_{};
};

}  // namespace fastes::tests
