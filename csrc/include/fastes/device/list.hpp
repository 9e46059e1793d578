// Every kernel for a GPU by name: what is compiled, launched and simulated.
//
// FASTES_DEVICE_KERNELS(X) calls X(name, body), the body in all arguments after the first.
#pragma once

#include "fastes/device/clipup.hpp"
#include "fastes/device/elements.hpp"
#include "fastes/device/environments.hpp"
#include "fastes/device/low_rank.hpp"
#include "fastes/device/low_rank_apply.hpp"
#include "fastes/device/probes.hpp"
#include "fastes/device/sum.hpp"

#define FASTES_DEVICE_KERNELS_OF_KIND(X, kind, Quad, Share)                 \
    X(fill_##kind, FillRows<Quad>)                                          \
    X(perturb_##kind##_float32, PerturbMembers<Quad, float>)                \
    X(perturb_##kind##_float16, PerturbMembers<Quad, float16>)              \
    X(perturb_##kind##_bfloat16, PerturbMembers<Quad, bfloat16>)            \
    X(perturb_each_##kind##_float32, PerturbMembers<Quad, float, true>)     \
    X(perturb_each_##kind##_float16, PerturbMembers<Quad, float16, true>)   \
    X(perturb_each_##kind##_bfloat16, PerturbMembers<Quad, bfloat16, true>) \
    X(weighted_sum_##kind, WeightedSum<Share, Copy>)                        \
    X(sgd_step_##kind, WeightedSum<Share, SgdOutput>)                       \
    X(adam_step_##kind, WeightedSum<Share, AdamOutput>)                     \
    X(clipup_gradient_##kind, WeightedSum<Share, GradientOutput>)           \
    X(chunk_totals_##kind, ChunkTotals<Share>)                              \
    X(low_rank_project_##kind##_float32, LowRankProject<Quad, float>)       \
    X(low_rank_project_##kind##_float16, LowRankProject<Quad, float16>)     \
    X(low_rank_project_##kind##_bfloat16, LowRankProject<Quad, bfloat16>)   \
    X(low_rank_expand_##kind##_float32, LowRankExpand<Quad, float>)         \
    X(low_rank_expand_##kind##_float16, LowRankExpand<Quad, float16>)       \
    X(low_rank_expand_##kind##_bfloat16, LowRankExpand<Quad, bfloat16>)

// Of kinds whose squares are not all 1.
#define FASTES_DEVICE_KERNELS_OF_SQUARES(X, kind, Share)                       \
    X(weighted_sums_##kind, WeightedSums<Share, Copy, Copy>)                   \
    X(snes_step_##kind, WeightedSums<Share, SnesMeanOutput, SnesSpreadOutput>) \
    X(chunk_totals_of_both_##kind, ChunkTotalsOfBoth<Share>)

#define FASTES_DEVICE_KERNELS(X)                                                  \
    FASTES_DEVICE_KERNELS_OF_KIND(X, normal, NormalQuad, NormalShare)             \
    FASTES_DEVICE_KERNELS_OF_KIND(X, rademacher, RademacherQuad, RademacherShare) \
    FASTES_DEVICE_KERNELS_OF_KIND(X, normal8, Normal8Quad, Normal8Share)          \
    FASTES_DEVICE_KERNELS_OF_SQUARES(X, normal, NormalShare)                      \
    FASTES_DEVICE_KERNELS_OF_SQUARES(X, normal8, Normal8Share)                    \
    X(snes_mean_rademacher, WeightedSum<RademacherShare, SnesMeanOutput>)         \
    X(snes_mean_combine, CombineTotals<SnesMeanOutput>)                           \
    X(snes_spread_combine, CombineTotals<SnesSpreadOutput>)                       \
    X(weighted_sum_combine, CombineTotals<Copy>)                                  \
    X(sgd_step_combine, CombineTotals<SgdOutput>)                                 \
    X(adam_step_combine, CombineTotals<AdamOutput>)                               \
    X(clipup_gradient_combine, CombineTotals<GradientOutput>)                     \
    X(sgd_apply, ApplyGradient<SgdOutput>)                                        \
    X(adam_apply, ApplyGradient<AdamOutput>)                                      \
    X(low_rank_perturb_float32, LowRankPerturb<float>)                            \
    X(low_rank_perturb_float16, LowRankPerturb<float16>)                          \
    X(low_rank_perturb_bfloat16, LowRankPerturb<bfloat16>)                        \
    X(low_rank_sum, LowRankSum)                                                   \
    X(clipup_sums, ClipUpSums)                                                    \
    X(clipup_scales, ClipUpScales)                                                \
    X(clipup_apply, ClipUpApply)                                                  \
    X(environment_step_cartpole, StepEpisodes<CartPole>)                          \
    X(environment_step_pendulum, StepEpisodes<Pendulum>)                          \
    X(philox, PhiloxCounters)                                                     \
    X(words_only, WordsOnly)                                                      \
    X(transform_digests, TransformDigests)
