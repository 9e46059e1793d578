// Four elements side by side in one thread, read and written as 16 bytes (8 for 16-bit types): what the updates of
// outputs.hpp, optimizer.hpp and clipup.hpp run on where elements and memory are aligned.
#pragma once

#include <cstdint>

#include "fastes/target.hpp"
#include "simd/scalar.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct QuadLanes {
    static constexpr int width = 4;
    struct alignas(16) f32 {
        float x[4];
    };

    struct u32 {
        std::uint32_t x[4];
    };

    FASTES_CALLABLE static f32 set(float x) { return {{x, x, x, x}}; }
    FASTES_CALLABLE static f32 add(f32 a, f32 b) {
        f32 c;
        for (int i = 0; i < 4; ++i) c.x[i] = rounded_sum(a.x[i], b.x[i]);
        return c;
    }
    FASTES_CALLABLE static f32 mul(f32 a, f32 b) {
        f32 c;
        for (int i = 0; i < 4; ++i) c.x[i] = rounded_product(a.x[i], b.x[i]);
        return c;
    }
    FASTES_CALLABLE static f32 div(f32 a, f32 b) {
        f32 c;
        for (int i = 0; i < 4; ++i) c.x[i] = rounded_quotient(a.x[i], b.x[i]);
        return c;
    }
    FASTES_CALLABLE static f32 fma(f32 a, f32 b, f32 c) {
        f32 d;
        for (int i = 0; i < 4; ++i) d.x[i] = fused_multiply_add(a.x[i], b.x[i], c.x[i]);
        return d;
    }
    FASTES_CALLABLE static f32 sqrt(f32 a) {
        f32 b;
        for (int i = 0; i < 4; ++i) b.x[i] = rounded_root(a.x[i]);
        return b;
    }
    FASTES_CALLABLE static f32 neg(f32 a) { return {{-a.x[0], -a.x[1], -a.x[2], -a.x[3]}}; }

    FASTES_CALLABLE static u32 words_of(f32 a) {
        return {{bits_of(a.x[0]), bits_of(a.x[1]), bits_of(a.x[2]), bits_of(a.x[3])}};
    }
    FASTES_CALLABLE static f32 floats_of(u32 a) {
        return {{float_of(a.x[0]), float_of(a.x[1]), float_of(a.x[2]), float_of(a.x[3])}};
    }
    template <int N>
    FASTES_CALLABLE static u32 shift_left(u32 a) {
        return {{a.x[0] << N, a.x[1] << N, a.x[2] << N, a.x[3] << N}};
    }
    FASTES_CALLABLE static f32 choose_negative(f32 x, f32 a, f32 b) {
        f32 c;
        for (int i = 0; i < 4; ++i) c.x[i] = ScalarLanes::choose_negative(x.x[i], a.x[i], b.x[i]);
        return c;
    }

    FASTES_CALLABLE static f32 load(const float* p) {
#if defined(__CUDA_ARCH__)
        const float4 v = *reinterpret_cast<const float4*>(p);
        return {{v.x, v.y, v.z, v.w}};
#else
        check_alignment(p, 16);
        return {{p[0], p[1], p[2], p[3]}};
#endif
    }
    template <class Half>
    FASTES_CALLABLE static f32 load(const Half* p) {
#if defined(__CUDA_ARCH__)
        const uint2 v = *reinterpret_cast<const uint2*>(p);
        const Half h[4] = {{static_cast<std::uint16_t>(v.x)},
                           {static_cast<std::uint16_t>(v.x >> 16)},
                           {static_cast<std::uint16_t>(v.y)},
                           {static_cast<std::uint16_t>(v.y >> 16)}};
#else
        check_alignment(p, 8);
        const Half* h = p;
#endif
        return {{ScalarLanes::load(h), ScalarLanes::load(h + 1), ScalarLanes::load(h + 2), ScalarLanes::load(h + 3)}};
    }
    // To global memory. Compilers would make four stores of one through a pointer to float4.
    FASTES_CALLABLE static void store(float* p, f32 a) {
#if defined(__CUDA_ARCH__)
        asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(p)), "f"(a.x[0]),
                     "f"(a.x[1]), "f"(a.x[2]), "f"(a.x[3])
                     : "memory");
#else
        check_alignment(p, 16);
        for (int i = 0; i < 4; ++i) p[i] = a.x[i];
#endif
    }
    template <class Half>
    FASTES_CALLABLE static void store(Half* p, f32 a) {
        Half h[4];
        for (int i = 0; i < 4; ++i) ScalarLanes::store(h + i, a.x[i]);
#if defined(__CUDA_ARCH__)
        asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(p)),
                     "r"(h[0].bits | std::uint32_t{h[1].bits} << 16), "r"(h[2].bits | std::uint32_t{h[3].bits} << 16)
                     : "memory");
#else
        check_alignment(p, 8);
        for (int i = 0; i < 4; ++i) p[i] = h[i];
#endif
    }

#if !defined(__CUDA_ARCH__)
private:
    // A GPU stops at an access that is not aligned; so does the simulation.
    static void check_alignment(const void* p, std::uintptr_t bytes) {
        if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0) __builtin_trap();
    }
#endif
};

// Hands elements position .. position + 3 to sink(position, vector), or one by one those of them in [0, count) where
// not all are or memory is not aligned.
template <class Sink>
FASTES_INLINE void emit_quad(const float* z, std::int64_t position, std::uint64_t count, bool aligned,
                             const Sink& sink) {
    const auto end = static_cast<std::int64_t>(count);
    if (aligned && position >= 0 && position + 4 <= end) {
        return sink.template operator()<QuadLanes>(position, QuadLanes::f32{{z[0], z[1], z[2], z[3]}});
    }
    FASTES_UNROLL
    for (int k = 0; k < 4; ++k) {
        if (position + k >= 0 && position + k < end) sink.template operator()<ScalarLanes>(position + k, z[k]);
    }
}

}  // namespace FASTES_ISA
}  // namespace fastes
