// Goes through all 2^32 words of the radius, of the angle and of the exponential (or one in --stride): the largest
// error of log, sin, cos and exp against double precision, and a digest of all outputs on every instruction set that
// this processor has. Exits 1 if an error exceeds 1.2 ulp, two instruction sets differ, or csrc/testdata/exhaustive.txt
// has other digests for this stride.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "exhaustive.hpp"
#include "fastes/dispatch.hpp"

namespace {

constexpr std::uint64_t all_words = std::uint64_t{1} << 32;
constexpr std::uint64_t chunk_words = std::uint64_t{1} << 16;
constexpr double allowed_ulp = 1.2;

std::uint64_t mixed(std::uint64_t x) {  // the finalizer of SplitMix64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

// Calls body(thread, first word, count) for all chunks on all processors.
void for_chunks(std::uint64_t stride, const std::function<void(unsigned, std::uint64_t, std::uint64_t)>& body) {
    const std::uint64_t total = (all_words + stride - 1) / stride;
    const unsigned threads = std::max(1u, std::thread::hardware_concurrency());
    std::atomic<std::uint64_t> next{0};
    std::vector<std::thread> pool;
    for (unsigned t = 0; t < threads; ++t) {
        pool.emplace_back([&, t] {
            for (std::uint64_t at = next.fetch_add(chunk_words); at < total; at = next.fetch_add(chunk_words)) {
                body(t, at * stride, std::min(chunk_words, total - at));
            }
        });
    }
    for (auto& thread : pool) thread.join();
}

// FNV-1a over each chunk's output bits, mixed with the chunk's first word, added up: any order of chunks, one digest.
std::uint64_t digest(const float* values, std::uint64_t count, std::uint64_t chunk) {
    std::uint64_t hash = 0xCBF29CE484222325u;
    for (std::uint64_t i = 0; i < count; ++i) {
        std::uint32_t bits;
        std::memcpy(&bits, values + i, sizeof bits);
        hash = (hash ^ bits) * 0x100000001B3u;
    }
    return mixed(hash ^ mixed(chunk));
}

struct Digests {
    std::uint64_t radius, direction, exponential;
    bool operator==(const Digests&) const = default;
};

Digests digests(const fastes::KernelTable& table, std::uint64_t stride) {
    std::atomic<std::uint64_t> radius{0}, direction{0}, exponential{0};
    for_chunks(stride, [&](unsigned, std::uint64_t first, std::uint64_t count) {
        std::vector<std::uint32_t> words(count);
        std::vector<float> out(2 * count);
        for (std::uint64_t i = 0; i < count; ++i) words[i] = static_cast<std::uint32_t>(first + i * stride);
        table.radius(words.data(), count, out.data());
        radius += digest(out.data(), count, first);
        table.direction(words.data(), count, out.data(), out.data() + count);
        direction += digest(out.data(), 2 * count, first);
        std::vector<float> x(count);
        std::memcpy(x.data(), words.data(), count * sizeof(float));
        for (float& power : x) power = power == power ? power : 0.0f;  // of a NaN it is not specified
        table.exponential(x.data(), count, out.data());
        exponential += digest(out.data(), count, first);
    });
    return {radius, direction, exponential};
}

// Whether the digests are those that every processor has to get; or, for a stride without any, that is said.
bool as_committed(const Digests& actual, std::uint64_t stride) {
    std::ifstream file(FASTES_TESTDATA "/exhaustive.txt");
    for (std::string text; std::getline(file, text);) {
        std::istringstream line(text);
        std::uint64_t committed_stride = 0;
        Digests committed{};
        line >> committed_stride >> std::hex >> committed.radius >> committed.direction;
        if (line && committed_stride == stride) {
            return actual.radius == committed.radius && actual.direction == committed.direction;
        }
    }
    std::printf("no digests are committed for this stride\n");
    return file.eof();
}

// The lower word of equals, so that the report does not depend on which thread saw which.
void merge(LargestError& into, const LargestError& from) {
    if (from.ulp > into.ulp || (from.ulp == into.ulp && from.word < into.word)) into = from;
}

TransformErrors errors(std::uint64_t stride) {
    std::vector<TransformErrors> parts(std::max(1u, std::thread::hardware_concurrency()));
    for_chunks(stride, [&](unsigned thread, std::uint64_t first, std::uint64_t count) {
        const TransformErrors part = measure_errors(first, count, stride);
        TransformErrors& into = parts[thread];
        merge(into.log, part.log);
        merge(into.sin, part.sin);
        merge(into.cos, part.cos);
        merge(into.radius, part.radius);
        merge(into.exp, part.exp);
        into.smallest_radius = std::min(into.smallest_radius, part.smallest_radius);
        into.largest_radius = std::max(into.largest_radius, part.largest_radius);
    });
    TransformErrors all;
    for (const auto& part : parts) {
        merge(all.log, part.log);
        merge(all.sin, part.sin);
        merge(all.cos, part.cos);
        merge(all.radius, part.radius);
        merge(all.exp, part.exp);
        all.smallest_radius = std::min(all.smallest_radius, part.smallest_radius);
        all.largest_radius = std::max(all.largest_radius, part.largest_radius);
    }
    return all;
}

}  // namespace

int main(int argc, char** argv) {
    const std::uint64_t stride =
        argc == 3 && std::string(argv[1]) == "--stride" ? std::strtoull(argv[2], nullptr, 10) : 1;
    if (stride == 0 || argc == 2 || argc > 3) {
        std::fprintf(stderr, "usage: fastes_exhaustive [--stride N]\n");
        return 2;
    }
    std::printf("noise specification %d: %llu words each of radius and angle (stride %llu)\n", fastes::noise_spec,
                static_cast<unsigned long long>((all_words + stride - 1) / stride),
                static_cast<unsigned long long>(stride));
    const TransformErrors worst = errors(stride);
    bool good = true;
    for (const auto& [name, error] :
         {std::pair{"log", worst.log}, {"sin", worst.sin}, {"cos", worst.cos}, {"exp", worst.exp}}) {
        std::printf("largest error of %s  %.4f ulp at word 0x%08x\n", name, error.ulp, error.word);
        good = good && error.ulp <= allowed_ulp;
    }
    std::printf("largest error of the radius sqrt(-2 log u)  %.4f ulp at word 0x%08x\n", worst.radius.ulp,
                worst.radius.word);
    std::printf("radius from %a (%.4g) to %a (%.6g)\n", static_cast<double>(worst.smallest_radius),
                static_cast<double>(worst.smallest_radius), static_cast<double>(worst.largest_radius),
                static_cast<double>(worst.largest_radius));
    std::vector<Digests> all;
    for (const auto& isa : fastes::isas_usable()) {
        fastes::select_isa(isa);
        all.push_back(digests(fastes::kernels(), stride));
        std::printf("%-8s radius %016llx  direction %016llx  exponential %016llx\n", isa.c_str(),
                    static_cast<unsigned long long>(all.back().radius),
                    static_cast<unsigned long long>(all.back().direction),
                    static_cast<unsigned long long>(all.back().exponential));
        std::fflush(stdout);
        good = good && all.back() == all.front();
    }
    if (!as_committed(all.front(), stride)) {
        std::printf("the committed digests are others\n");
        good = false;
    }
    std::printf("%s\n", good ? "all equal, errors within 1.2 ulp" : "FAILED");
    return good ? 0 : 1;
}
