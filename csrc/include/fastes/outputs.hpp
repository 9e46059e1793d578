// What becomes of values as they are made: functors of a position and a vector of V::width elements there.
#pragma once

#include <cstdint>

#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct Copy {
    float* out;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 x) const {
        V::store(out + position, x);
    }
};

template <class K>
struct Fill {
    float* out;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 x) const {
        V::store(out + position, K::step == 1.0f ? x : V::mul(x, V::set(K::step)));
    }
};

template <class T, bool past_caches>
struct PerturbRow {
    const float* theta;
    T* out;
    float scale;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 epsilon) const {
        store<V>(position, V::set(scale), epsilon);
    }

    template <class V>
    FASTES_CALLABLE void store(std::int64_t position, typename V::f32 own_scale, typename V::f32 epsilon) const {
        const auto perturbed = V::fma(own_scale, epsilon, V::load(theta + position));
        if constexpr (past_caches) {
            V::stream(out + position, perturbed);
        } else {
            V::store(out + position, perturbed);
        }
    }
};

// With a sigma for each element, which the scale is multiplied by.
template <class T, bool past_caches>
struct PerturbRowEach {
    PerturbRow<T, past_caches> row;
    const float* sigma;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 epsilon) const {
        row.template store<V>(position, V::mul(V::set(row.scale), V::load(sigma + position)), epsilon);
    }
};

// y + scale u, rounded once.
template <class T>
struct AddScaled {
    T* y;
    float scale;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 u) const {
        V::store(y + position, V::fma(V::set(scale), u, V::load(static_cast<const T*>(y) + position)));
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
