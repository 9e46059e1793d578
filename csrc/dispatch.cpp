#include "fastes/dispatch.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#if defined(FASTES_X86)
#include <cpuid.h>
#endif

namespace fastes {
namespace {

struct Candidate {
    const KernelTable* table;
    bool usable;
};

#if defined(FASTES_X86)
// By CPUID, because not every Clang has a name for it in __builtin_cpu_supports.
bool has_f16c() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

// Best first. __builtin_cpu_supports asks CPUID, and XGETBV for whether the system saves the wide registers.
std::vector<Candidate> candidates() {
    std::vector<Candidate> all;
#if defined(FASTES_X86)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    const bool avx512vbmi = avx512 && __builtin_cpu_supports("avx512vbmi");
    all.push_back({&avx512vbmi_kernels, avx512vbmi});
    all.push_back({&avx512_kernels, avx512});
    all.push_back({&avx2_kernels, avx2});
#elif defined(FASTES_NEON)
    all.push_back({&neon_kernels, true});  // every AArch64 processor has it
#endif
    all.push_back({&scalar_kernels, true});
    return all;
}

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

const KernelTable& named(const std::string& name) {
    for (const auto& candidate : candidates()) {
        if (name == candidate.table->name && candidate.usable) return *candidate.table;
    }
    throw std::invalid_argument("instruction set '" + name + "' cannot be used here; usable: " + joined(isas_usable()) +
                                ". Check FASTES_ISA, or unset it to take the best.");
}

const KernelTable& initial() {
    const char* forced = std::getenv("FASTES_ISA");
    return named(forced != nullptr && *forced != '\0' ? forced : isas_usable().front());
}

std::atomic<const KernelTable*> selected{nullptr};

}  // namespace

const KernelTable& kernels() {
    const KernelTable* table = selected.load(std::memory_order_acquire);
    if (table == nullptr) {
        table = &initial();
        selected.store(table, std::memory_order_release);
    }
    return *table;
}

void select_isa(const std::string& name) {
    selected.store(&named(name), std::memory_order_release);
}

std::vector<std::string> isas_built() {
    std::vector<std::string> names;
    for (const auto& candidate : candidates()) names.emplace_back(candidate.table->name);
    return names;
}

std::vector<std::string> isas_usable() {
    std::vector<std::string> names;
    for (const auto& candidate : candidates()) {
        if (candidate.usable) names.emplace_back(candidate.table->name);
    }
    return names;
}

}  // namespace fastes
