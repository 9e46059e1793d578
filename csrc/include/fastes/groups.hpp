// The loop over elements that all kernels share. A group is V::width consecutive blocks, one a lane; its values come
// as vectors of V::width consecutive elements, whatever the kind of noise.
#pragma once

#include <cstdint>

#include "fastes/philox.hpp"

namespace fastes {
inline namespace FASTES_ISA {

template <class V, class K>
inline constexpr int group_elements = K::block_elements * V::width;

// Calls body.template operator()<G>(first block, position) for groups that cover the span, `Together` (1 or 2) at a
// time while as many are wanted. `position` is the group's first element relative to the span's: negative in the first
// group when the span starts inside a block.
template <class V, class K, int Together = K::interleave, class Body>
inline void for_groups(const Span& span, const Body& body) {
    constexpr int group = group_elements<V, K>;
    auto block = static_cast<std::uint32_t>(span.first / K::block_elements);
    const auto count = static_cast<std::int64_t>(span.count);
    std::int64_t position = -static_cast<std::int64_t>(span.first % K::block_elements);
    while (position < count) {
        if constexpr (Together == 2) {
            if (count - position > group) {
                body.template operator()<2>(block, position);
                block += 2 * V::width;
                position += 2 * group;
                continue;
            }
        }
        body.template operator()<1>(block, position);
        block += V::width;
        position += group;
    }
}

// Number of the group at this position in its span.
template <class V, class K>
inline std::int64_t group_index(std::int64_t position) {
    return (position + K::block_elements - 1) / group_elements<V, K>;  // the first group begins inside a block or at 0
}

template <class V, int G>
inline void make_block_keys(std::uint32_t block, std::uint32_t generation, const RoundKeys& keys, BlockKeys<V>* out) {
    for (int g = 0; g < G; ++g)
        out[g] = BlockKeys<V>(block + static_cast<std::uint32_t>(g * V::width), generation, keys);
}

// Hands a group's vectors to sink(position, V::f32 of V::width elements) in order, and those elements of a vector that
// lies only partly inside the span one by one as ScalarLanes.
template <class V, class K, class Vectors, class Sink>
inline void emit(const Vectors& vectors, std::int64_t position, const Span& span, const Sink& sink) {
    const auto count = static_cast<std::int64_t>(span.count);
    if (position >= 0 && position + group_elements<V, K> <= count) {
        for (int i = 0; i < K::block_elements; ++i) {
            sink.template operator()<V>(position + i * V::width, vectors.vector(i));
        }
        return;
    }
    for (int i = 0; i < K::block_elements; ++i) {
        const std::int64_t at = position + i * V::width;
        if (at >= count || at + V::width <= 0) continue;
        if (at >= 0 && at + V::width <= count) {
            sink.template operator()<V>(at, vectors.vector(i));
            continue;
        }
        float buffer[V::width];
        V::store(buffer, vectors.vector(i));
        for (int lane = 0; lane < V::width; ++lane) {
            if (at + lane >= 0 && at + lane < count) sink.template operator()<ScalarLanes>(at + lane, buffer[lane]);
        }
    }
}

}  // namespace FASTES_ISA
}  // namespace fastes
