// Four lanes: AArch64's NEON.
//
// `wide` is the low and the high words of four 64-bit products, apart: UZP1 and UZP2 separate them right after the
// multiplication, and from there on `high` costs nothing. Blocks keep their order, so that a 4 x 4 transpose gives
// elements in order. The high words have a meaning in a product only.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fastes/half.hpp"
#include "fastes/level_lookups.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct NeonLanes {
    static constexpr int width = 4;
    static constexpr int interleave = 2;      // groups in flight
    static constexpr int sum_interleave = 1;  // the same in a weighted sum
    static constexpr int tile_vectors = 4;    // of a row in a tile of a matrix product
    static constexpr int mlp_tiles = 1;       // of 16 outputs each, that registers hold the chains of
    static constexpr const char* name = "neon";
    using f32 = float32x4_t;
    using u32 = uint32x4_t;
    struct wide {
        uint32x4_t low, high;
    };

    static wide block_lanes(std::uint32_t first) {
        constexpr std::uint32_t steps[4] = {0, 1, 2, 3};
        return meaning_low(vaddq_u32(vdupq_n_u32(first), vld1q_u32(steps)));
    }
    static wide broadcast(std::uint64_t x) { return meaning_low(vdupq_n_u32(static_cast<std::uint32_t>(x))); }
    static u32 broadcast32(std::uint32_t x) { return vdupq_n_u32(x); }
    static wide mul_low(wide a, std::uint32_t m) {
        const uint32x4_t factor = vdupq_n_u32(m);
        const uint32x4_t first = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(a.low), vget_low_u32(factor)));
        const uint32x4_t second = vreinterpretq_u32_u64(vmull_high_u32(a.low, factor));
        return {vuzp1q_u32(first, second), vuzp2q_u32(first, second)};
    }
    static wide high(wide a) { return meaning_low(a.high); }
    static wide xor2(wide a, wide b) { return meaning_low(veorq_u32(a.low, b.low)); }
    static wide xor3(wide a, wide b, wide c) { return meaning_low(xor3(a.low, b.low, c.low)); }
    static u32 xor3(u32 a, u32 b, u32 c) { return veorq_u32(veorq_u32(a, b), c); }
    static u32 pack_low(wide a) { return a.low; }
    static u32 pack_high(wide a) { return a.high; }
    template <int N>
    static u32 shift_left(u32 a) {
        return vshlq_n_u32(a, N);
    }
    template <int N>
    static u32 shift_right(u32 a) {
        return vshrq_n_u32(a, N);
    }
    static u32 select(std::uint32_t mask, u32 a, u32 b) { return vbslq_u32(vdupq_n_u32(mask), a, b); }

    static f32 set(float x) { return vdupq_n_f32(x); }
    static f32 from_signed(u32 a) { return vcvtq_f32_s32(vreinterpretq_s32_u32(a)); }
    static f32 add(f32 a, f32 b) { return vaddq_f32(a, b); }
    static f32 mul(f32 a, f32 b) { return vmulq_f32(a, b); }
    static f32 div(f32 a, f32 b) { return vdivq_f32(a, b); }
    static f32 fma(f32 a, f32 b, f32 c) { return vfmaq_f32(c, a, b); }
    static f32 sqrt(f32 a) { return vsqrtq_f32(a); }
    static f32 neg(f32 a) { return vnegq_f32(a); }
    static u32 words_of(f32 a) { return vreinterpretq_u32_f32(a); }
    static f32 floats_of(u32 a) { return vreinterpretq_f32_u32(a); }
    // a where the sign of x is set, else b.
    static f32 choose_negative(f32 x, f32 a, f32 b) {
        return vbslq_f32(vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_f32(x), 31)), a, b);
    }

    static void split(f32 a, f32& exponent, f32& mantissa) {
        const u32 bits = vreinterpretq_u32_f32(a);
        const u32 biased = vshrq_n_u32(vshlq_n_u32(bits, 1), 24);
        exponent = from_signed(vsubq_u32(biased, vdupq_n_u32(127)));
        mantissa = vreinterpretq_f32_u32(vbslq_u32(vdupq_n_u32(0x007FFFFFu), bits, vdupq_n_u32(0x3F000000u)));
    }
    static f32 with_sign_of(f32 a, u32 word) {  // a is not negative
        return vbslq_f32(vdupq_n_u32(0x80000000u), vreinterpretq_f32_u32(word), a);
    }
    static void exchange_if_odd(u32 word, f32& a, f32& b) {
        const u32 odd = vtstq_u32(word, vdupq_n_u32(1));
        const f32 first = vbslq_f32(odd, b, a);
        b = vbslq_f32(odd, a, b);
        a = first;
    }
    static void transpose(u32* w) {
        const u32 a = vzip1q_u32(w[0], w[2]), b = vzip2q_u32(w[0], w[2]);
        const u32 c = vzip1q_u32(w[1], w[3]), d = vzip2q_u32(w[1], w[3]);
        w[0] = vzip1q_u32(a, c);
        w[1] = vzip2q_u32(a, c);
        w[2] = vzip1q_u32(b, d);
        w[3] = vzip2q_u32(b, d);
    }
    static void transpose(f32* z) {
        u32 w[4];
        for (int k = 0; k < 4; ++k) w[k] = vreinterpretq_u32_f32(z[k]);
        transpose(w);
        for (int k = 0; k < 4; ++k) z[k] = vreinterpretq_f32_u32(w[k]);
    }
    static void store_blocks(const f32* z, float* out, std::ptrdiff_t stride) {
        f32 blocks[4] = {z[0], z[1], z[2], z[3]};
        transpose(blocks);
        for (int b = 0; b < 4; ++b) store(out + b * stride, blocks[b]);
    }

    using Table = uint8x16x4_t;
    static Table load_table(const float* p) {  // 16 floats, looked up as 64 bytes
        Table table;
        for (int k = 0; k < 4; ++k) table.val[k] = vreinterpretq_u8_f32(vld1q_f32(p + 4 * k));
        return table;
    }
    static f32 lookup(const Table& table, u32 index) {
        const u32 entry = vandq_u32(index, vdupq_n_u32(15));
        const u32 bytes = vmlaq_u32(vdupq_n_u32(0x03020100u), entry, vdupq_n_u32(0x04040404u));
        return vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(bytes)));
    }
    static f32 signs(const std::uint32_t* words, int i) {
        constexpr std::int32_t to_top[4] = {31, 30, 29, 28};
        const int32x4_t shift = vsubq_s32(vld1q_s32(to_top), vdupq_n_s32(4 * (i % 8)));
        const u32 bit = vshlq_u32(vdupq_n_u32(words[i / 8]), shift);
        return with_sign_of(set(1.0f), bit);
    }
    // Magnitudes by their 7 bits: the first half of the table gives 0 where the second, counted from 64, has its bytes.
    static u32 levels(u32 words) {
        const uint8x16_t bytes = vreinterpretq_u8_u32(words);
        const uint8x16_t index = vandq_u8(bytes, vdupq_n_u8(127));
        const int8x16_t low = vqtbl4q_s8(level_table(0), index);
        const int8x16_t magnitude = vqtbx4q_s8(low, level_table(64), vsubq_u8(index, vdupq_n_u8(64)));
        const int8x16_t negative = vshrq_n_s8(vreinterpretq_s8_u8(bytes), 7);  // 0 or -1
        return vreinterpretq_u32_s8(vsubq_s8(veorq_s8(magnitude, negative), negative));
    }
    // A byte at the top of its lane, with zeros below, is its value times 2^24; the conversion divides by that.
    static void level_floats(u32 words, f32* z) {
        const u32 bytes = levels(words), top = vdupq_n_u32(0xFF000000u);
        z[0] = vcvtq_n_f32_s32(vreinterpretq_s32_u32(vshlq_n_u32(bytes, 24)), 24);
        z[1] = vcvtq_n_f32_s32(vreinterpretq_s32_u32(vandq_u32(vshlq_n_u32(bytes, 16), top)), 24);
        z[2] = vcvtq_n_f32_s32(vreinterpretq_s32_u32(vandq_u32(vshlq_n_u32(bytes, 8), top)), 24);
        z[3] = vcvtq_n_f32_s32(vreinterpretq_s32_u32(vandq_u32(bytes, top)), 24);
    }
    static void order_levels(f32*) {}
    static f32 widen(const std::int8_t* p) {
        std::uint32_t four;
        std::memcpy(&four, p, sizeof four);
        const int8x8_t bytes = vreinterpret_s8_u32(vdup_n_u32(four));
        return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
    }

    static f32 load(const float* p) { return vld1q_f32(p); }
    static f32 load(const float16* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits))); }
    static f32 load(const bfloat16* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(&p->bits), 16)); }
    static f32 load_quad(const float* p, int) { return load(p); }
    static u32 load_words(const std::uint32_t* p) { return vld1q_u32(p); }
    static void store_words(std::uint32_t* p, u32 a) { vst1q_u32(p, a); }
    static void store(float* p, f32 a) { vst1q_f32(p, a); }
    static void stream(float* p, f32 a) { store(p, a); }  // STNP, the hint, has no intrinsic
    static void fence() {}
    // FPCR: FZ16 does not reach conversions; AHP does, and is 0 in kernels.
    static void store(float16* p, f32 a) { vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32(a))); }
    static void store(bfloat16* p, f32 a) {  // not BFCVTN: an extension of its own
        const u32 bits = vreinterpretq_u32_f32(a);
        const u32 lowest = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        const u32 rounded = vaddq_u32(bits, vaddq_u32(lowest, vdupq_n_u32(0x7FFFu)));
        const u32 quiet = vorrq_u32(bits, vdupq_n_u32(0x00400000u));
        vst1_u16(&p->bits, vshrn_n_u32(vbslq_u32(vceqq_f32(a, a), rounded, quiet), 16));
    }

private:
    static int8x16x4_t level_table(int first) {
        int8x16x4_t table;
        for (int k = 0; k < 4; ++k) table.val[k] = vld1q_s8(normal8_levels + first + 16 * k);
        return table;
    }
    static wide meaning_low(uint32x4_t low) { return {low, low}; }  // no second register: `high` is never read
};

}  // namespace FASTES_ISA
}  // namespace fastes
