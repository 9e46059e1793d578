// Philox4x32 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), once word by
// word for any counter, and once over lanes with what is common to a block or to a row taken out of the loop.
//
// Counter words are (block, stream, row, generation). One round maps (c0, c1, c2, c3) with key (k0, k1) to
//
//     (hi(M1 c2) ^ c1 ^ k0,  lo(M1 c2),  hi(M0 c0) ^ c3 ^ k1,  lo(M0 c0)).
//
// Its first application takes the block through M0 and the row through M1, so each half of its result depends on the
// block alone or on the row alone. In the second, the halves meet in two exclusive ors; every product is still of the
// block alone or of the row alone. Both rounds are therefore made once a block and once a row: what is left
// for each (block, row) is two exclusive ors and eight rounds.
#pragma once

#include <cstdint>

#include "fastes/address.hpp"
#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

inline constexpr std::uint32_t philox_m0 = 0xD2511F53u;
inline constexpr std::uint32_t philox_m1 = 0xCD9E8D57u;
inline constexpr std::uint32_t philox_w0 = 0x9E3779B9u;
inline constexpr std::uint32_t philox_w1 = 0xBB67AE85u;
inline constexpr int philox_rounds = 10;

// counter: 4 words, replaced by the 4 output words. key: 2 words.
template <int Rounds>
FASTES_CALLABLE inline void philox4x32(std::uint32_t* counter, std::uint32_t k0, std::uint32_t k1) {
    for (int round = 0; round < Rounds; ++round) {
        const std::uint64_t p0 = std::uint64_t{philox_m0} * counter[0];
        const std::uint64_t p1 = std::uint64_t{philox_m1} * counter[2];
        counter[0] = static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ k0;
        counter[1] = static_cast<std::uint32_t>(p1);
        counter[2] = static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ k1;
        counter[3] = static_cast<std::uint32_t>(p0);
        k0 += philox_w0;
        k1 += philox_w1;
    }
}

// The keys of all rounds, each in the low half of 64 bits as the lanes take them.
struct RoundKeys {
    std::uint64_t k0[philox_rounds];
    std::uint64_t k1[philox_rounds];

    explicit RoundKeys(std::uint64_t seed) {
        for (int round = 0; round < philox_rounds; ++round) {
            k0[round] = static_cast<std::uint32_t>(seed) + philox_w0 * static_cast<std::uint32_t>(round);
            k1[round] = static_cast<std::uint32_t>(seed >> 32) + philox_w1 * static_cast<std::uint32_t>(round);
        }
    }
};

FASTES_CALLABLE inline RowKey row_key(std::uint32_t row, std::uint32_t stream, const RoundKeys& keys) {
    const std::uint64_t p1 = std::uint64_t{philox_m1} * row;
    const auto word0 = static_cast<std::uint32_t>((p1 >> 32) ^ stream ^ keys.k0[0]);
    const std::uint64_t p0 = std::uint64_t{philox_m0} * word0;
    RowKey key;
    key.c0 = static_cast<std::uint32_t>(p1);               // into word 0 of round 2: lo(M1 row)
    key.c2 = p0 >> 32;                                     // into word 2 of round 2: hi(M0 word0)
    key.c3 = static_cast<std::uint32_t>(p0) ^ keys.k1[2];  // into word 2 of round 3: lo(M0 word0) ^ k1
    return key;
}

// What V::width consecutive blocks contribute to rounds 1 to 3. The upper halves of the 64-bit lanes hold no meaning:
// a product reads the lower halves only.
template <class V>
struct BlockKeys {
    typename V::wide x0, x1, x2;

    BlockKeys() = default;
    FASTES_CALLABLE BlockKeys(std::uint32_t first_block, std::uint32_t generation, const RoundKeys& keys) {
        const auto p0 = V::mul_low(V::block_lanes(first_block), philox_m0);
        const auto word2 = V::xor2(V::high(p0), V::broadcast(generation ^ keys.k1[0]));
        const auto p1 = V::mul_low(word2, philox_m1);
        x0 = V::xor2(V::high(p1), V::broadcast(keys.k0[1]));
        x1 = V::xor2(p1, V::broadcast(keys.k0[2]));
        x2 = V::xor2(p0, V::broadcast(keys.k1[1]));
    }
};

// words[g][k]: word k of blocks[g BlockStep] and rows[g RowStep]. G groups advance side by side so that the products of
// one hide the latency of the other's.
template <class V, int G, int BlockStep, int RowStep>
FASTES_INLINE void philox_side_by_side(const BlockKeys<V>* blocks, const RowKey* rows, const RoundKeys& keys,
                                       typename V::u32 (*words)[4]) {
    using wide = typename V::wide;
    wide c0[G], c1[G], c2[G], c3[G];
    for (int g = 0; g < G; ++g) {
        const BlockKeys<V>& block = blocks[g * BlockStep];
        const RowKey& row = rows[g * RowStep];
        const wide p1 = V::mul_low(V::xor2(block.x2, V::broadcast(row.c2)), philox_m1);
        const wide p0 = V::mul_low(V::xor2(block.x0, V::broadcast(row.c0)), philox_m0);
        c0[g] = V::xor2(V::high(p1), block.x1);
        c1[g] = p1;
        c2[g] = V::xor2(V::high(p0), V::broadcast(row.c3));
        c3[g] = p0;
    }
    FASTES_UNROLL
    for (int round = 3; round < philox_rounds - 1; ++round) {
        const wide k0 = V::broadcast(keys.k0[round]), k1 = V::broadcast(keys.k1[round]);
        for (int g = 0; g < G; ++g) {
            const wide p1 = V::mul_low(c2[g], philox_m1);
            const wide p0 = V::mul_low(c0[g], philox_m0);
            c0[g] = V::xor3(V::high(p1), c1[g], k0);
            c1[g] = p1;
            c2[g] = V::xor3(V::high(p0), c3[g], k1);
            c3[g] = p0;
        }
    }
    const auto k0 = V::broadcast32(static_cast<std::uint32_t>(keys.k0[philox_rounds - 1]));
    const auto k1 = V::broadcast32(static_cast<std::uint32_t>(keys.k1[philox_rounds - 1]));
    for (int g = 0; g < G; ++g) {
        const wide p1 = V::mul_low(c2[g], philox_m1);
        const wide p0 = V::mul_low(c0[g], philox_m0);
        words[g][0] = V::xor3(V::pack_high(p1), V::pack_low(c1[g]), k0);
        words[g][1] = V::pack_low(p1);
        words[g][2] = V::xor3(V::pack_high(p0), V::pack_low(c3[g]), k1);
        words[g][3] = V::pack_low(p0);
    }
}

// One row of G groups of blocks.
template <class V, int G>
FASTES_INLINE void philox_words(const BlockKeys<V>* blocks, const RowKey& row, const RoundKeys& keys,
                                typename V::u32 (*words)[4]) {
    philox_side_by_side<V, G, 1, 0>(blocks, &row, keys, words);
}

// G rows of one group of blocks.
template <class V, int G>
FASTES_INLINE void philox_rows(const BlockKeys<V>& blocks, const RowKey* rows, const RoundKeys& keys,
                               typename V::u32 (*words)[4]) {
    philox_side_by_side<V, G, 0, 1>(&blocks, rows, keys, words);
}

}  // namespace FASTES_ISA
}  // namespace fastes
