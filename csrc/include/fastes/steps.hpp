// The numbers and arrays of optimizer steps: plain data that processors and GPUs share.
#pragma once

#include <cstdint>

namespace fastes {

// One optimizer step on theta for the gradient -g + l2 theta, g the weighted sum. `decay` multiplies theta first
// (1 - lr weight_decay, decoupled). State arrays are read from `*_in` and written to `*_out`, which may be the same.
struct SgdStep {
    const float *theta_in, *momentum_in;
    float *theta_out, *momentum_out;
    float lr, momentum, l2, decay;
    bool nesterov;
};

struct AdamStep {
    const float *theta_in, *m_in, *v_in;
    float *theta_out, *m_out, *v_out;
    float step;  // lr / (1 - beta1^t)
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float v_scale;  // 1 / sqrt(1 - beta2^t)
    float epsilon, l2, decay;
};

// One step of separable NES.
struct SnesStep {
    const float *theta_in, *sigma_in;
    float *theta_out, *sigma_out;
    float lr, half_lr_sigma;
};

// ClipUp goes over the parameters twice: the gradient with its sums, then, with what the sums give, the step.
struct ClipUpStep {
    const float *theta_in, *velocity_in;
    float *theta_out, *velocity_out;
    float* gradient;  // [D], uphill: g - l2 theta; may be velocity_out unless that is velocity_in
    double* sums;     // [ceil(D / clipup_block)][3]: of d d, d v and v v
    double lr, momentum, max_speed;
    float l2, decay;
    float clipped_momentum, clipped_rate;  // found between the passes
};

// Elements of one partial sum of ClipUp's norms; spans end on multiples of it.
inline constexpr std::uint64_t clipup_block = 1024;

}  // namespace fastes
