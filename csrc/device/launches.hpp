// What plans have in common: launches of bodies by name, grids that fill a GPU, and sums whose chunks are split over
// blocks.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include "fastes/plan.hpp"
#include "fastes/threads.hpp"

#define FASTES_ISA isa_device
#include "fastes/device/list.hpp"

namespace fastes::device {

// Times over that a grid should fill a GPU, so that its last blocks, which do not, are a small part of it.
inline constexpr std::uint64_t fillings = 4;
inline constexpr std::uint64_t largest_grid_y = 65535;

inline std::uint64_t ceil_div(std::uint64_t a, std::uint64_t b) {
    return (a + b - 1) / b;
}

inline const char* name_of(Kind kind) {
    return kind == Kind::normal ? "normal" : kind == Kind::rademacher ? "rademacher" : "normal8";
}

inline const char* name_of(OutputType type) {
    return type == OutputType::float32 ? "float32" : type == OutputType::float16 ? "float16" : "bfloat16";
}

template <class Body>
Launch launch(std::string kernel, std::uint64_t grid_x, std::uint64_t grid_y, const typename Body::Params& parameters) {
    static_assert(std::is_trivially_copyable_v<typename Body::Params>);
    const auto* bytes = reinterpret_cast<const std::byte*>(&parameters);
    return {std::move(kernel),
            static_cast<std::uint32_t>(grid_x),
            static_cast<std::uint32_t>(grid_y),
            Body::threads,
            {bytes, bytes + sizeof parameters}};
}

// body.template operator()<Quad, Share>() of the kind.
template <class Body>
auto with_kind(Kind kind, const Body& body) {
    switch (kind) {
        case Kind::rademacher: return body.template operator()<RademacherQuad, RademacherShare>();
        case Kind::normal8: return body.template operator()<Normal8Quad, Normal8Share>();
        case Kind::normal: break;
    }
    return body.template operator()<NormalQuad, NormalShare>();
}

template <class Body>
auto with_type(OutputType type, const Body& body) {
    switch (type) {
        case OutputType::float16: return body.template operator()<float16>();
        case OutputType::bfloat16: return body.template operator()<bfloat16>();
        case OutputType::float32: break;
    }
    return body.template operator()<float>();
}

inline bool aligned(std::initializer_list<const void*> pointers) {
    return std::all_of(pointers.begin(), pointers.end(),
                       [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; });
}

inline RowNumbers row_numbers(const Rows& rows) {
    return {rows.numbers, rows.words, rows.single};
}

inline Plan without_scratch(Launch only) {
    return {0, [only = std::move(only)](void*) { return std::vector<Launch>{only}; }};
}

// Threads that fill a GPU as often as that.
inline std::uint64_t filling(const Processor& processor, std::uint64_t resident_threads) {
    return processor.multiprocessors * resident_threads * fillings;
}

// Members that one row of blocks takes, an even number so that mirrored pairs stay together: more where there is work
// enough for all multiprocessors, because theta is then read less often.
inline std::uint64_t members_of_block(const Processor& processor, std::uint64_t threads, std::uint64_t members,
                                      std::uint64_t resident_threads) {
    const std::uint64_t wanted = filling(processor, resident_threads);
    std::uint64_t together = 8;
    while (together > 2 && threads * ceil_div(members, together) < wanted) together /= 2;
    return std::max(together, ceil_div(ceil_div(members, largest_grid_y), 2) * 2);
}

// What becomes of a sum: the names of the kernels that hand it on, and the output's value.
template <class Output>
struct Ending {
    const char* name;
    Output output;
    bool aligned;
};

// Chunks of a sum that are split over blocks: how many have their totals in memory at a time. After the totals comes,
// where they do not all fit, the sum so far.
struct Split {
    std::uint64_t dim, chunks, together;

    Split(const Processor& processor, std::uint64_t dim_, std::uint64_t chunks_, std::uint64_t limit = largest_grid_y)
        : dim(dim_),
          chunks(chunks_),
          together(std::clamp<std::uint64_t>(processor.scratch_bytes / (stride() * sizeof(float)), 1,
                                             std::min(chunks, limit))) {}

    std::uint64_t stride() const { return ceil_div(dim, 4) * 4; }
    std::uint64_t floats() const { return stride() * (together + (together < chunks ? 1 : 0)); }
};

// The launch that adds totals of chunks in order, after the sum so far: to the output where they are the last of all.
template <class Output>
Launch combine(const Split& split, const Ending<Output>& ending, float* totals, std::uint64_t chunk,
               std::uint64_t count) {
    float* so_far = totals + split.together * split.stride();
    const float* before = chunk == 0 ? nullptr : so_far;
    const std::uint64_t blocks = ceil_div(ceil_div(split.dim, 4), CombineTotals<Output>::threads);
    if (chunk + count < split.chunks) {
        return launch<CombineTotals<Copy>>("weighted_sum_combine", blocks, 1,
                                           {totals, before, count, split.stride(), split.dim, Copy{so_far}, true});
    }
    return launch<CombineTotals<Output>>(
        std::string(ending.name) + "_combine", blocks, 1,
        {totals, before, count, split.stride(), split.dim, ending.output, ending.aligned});
}

// body(first chunk, chunks) for those that are in memory at a time.
template <class Body>
void for_chunks(const Split& split, const Body& body) {
    for (std::uint64_t chunk = 0; chunk < split.chunks; chunk += split.together) {
        body(chunk, std::min(split.together, split.chunks - chunk));
    }
}

// Launches that make totals of chunks, make(launches, first chunk, chunks) each time, and add them in order.
template <class Output, class Make>
std::vector<Launch> combined(const Split& split, const Ending<Output>& ending, float* totals, const Make& make) {
    std::vector<Launch> launches;
    for_chunks(split, [&](std::uint64_t chunk, std::uint64_t count) {
        make(launches, chunk, count);
        launches.push_back(combine(split, ending, totals, chunk, count));
    });
    return launches;
}

}  // namespace fastes::device
