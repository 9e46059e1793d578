// What surrounds a call must not matter: the caller's floating-point modes, and fork while other threads work.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <thread>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "workload.hpp"

namespace fastes::tests {
namespace {

#if defined(__x86_64__)
using Modes = unsigned;
constexpr Modes hostile = 0x8000 | 0x0040 | 0x6000;  // flush to zero, denormals are zero, round toward zero
Modes modes() {
    return _mm_getcsr();
}
void set_modes(Modes modes) {
    _mm_setcsr(modes);
}
#elif defined(__aarch64__)
using Modes = std::uint64_t;
// Alternative half precision, default NaN, flush to zero, round toward zero, flush to zero in half precision.
constexpr Modes hostile = 1u << 26 | 1u << 25 | 1u << 24 | 3u << 22 | 1u << 19;
Modes modes() {
    Modes modes;
    asm volatile("mrs %0, fpcr" : "=r"(modes));
    return modes;
}
void set_modes(Modes modes) {
    asm volatile("msr fpcr, %0" ::"r"(modes));
}
#endif

// Subnormal weights, products, sums and parameters: any flush shows.
constexpr float tiny = 0x1p-138f;

}  // namespace

void test_floating_point_environment() {
    for (const Kind kind : kinds) {
        const Workload subnormal(kind, 4099, 0, tiny), ordinary(kind, 4099);
        const auto sum = subnormal.noise.weighted_sum(subnormal.weights);
        const auto out = subnormal.noise.perturb<float>(subnormal.theta, subnormal.weights, OutputType::float32);
        CHECK(std::fpclassify(sum[0]) == FP_SUBNORMAL && std::fpclassify(out[0]) == FP_SUBNORMAL,
              "the inputs make no subnormals: the test is void");
        for (const auto& isa : isas_usable()) {
            select_isa(isa);
            for (const int threads : {1, 2}) {
                set_num_threads(threads);
                const std::uint64_t expected[2] = {subnormal.digest(), ordinary.digest()};
                const Modes before = modes();
                set_modes(before | hostile);
                const Modes during = modes();
                const std::uint64_t digests[2] = {subnormal.digest(), ordinary.digest()};
                const Modes after = modes();
                set_modes(before);
                const std::string where = std::string(" of ") + name_of(kind) + " on " + isa + ", " +
                                          std::to_string(threads) + " threads, hostile modes";
                CHECK(during != before, "the modes cannot be set: the test is void");
                CHECK(digests[0] == expected[0], "subnormal results" + where);
                CHECK(digests[1] == expected[1], "results" + where);
                CHECK(after == during, "the caller's modes were not put back" + where);
            }
        }
    }
}

void test_fork() {
    constexpr int forks_each = 10;
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        set_num_threads(2);
        std::vector<Workload> workloads;
        std::vector<std::uint64_t> expected;
        for (const Kind kind : kinds) {
            workloads.emplace_back(kind, 4099);
            expected.push_back(workloads.back().digest());
        }
        std::atomic<bool> stop{false};
        std::thread busy([&] {
            for (std::size_t i = 0; !stop; ++i) workloads[i % workloads.size()].digest();
        });
        int good = 0;
        // The youngest thread forks: QEMU 7.2 numbers a child's next thread after it, and stops at a number in use.
        std::thread forking([&] {
            for (int i = 0; i < forks_each; ++i) {
                const std::size_t which = static_cast<std::size_t>(i) % workloads.size();
                const pid_t child = fork();
                if (child == 0) {
                    alarm(60);  // a hang ends as a failure
                    _exit(workloads[which].digest() == expected[which] ? 0 : 1);
                }
                int status = -1;
                waitpid(child, &status, 0);
                if (WIFEXITED(status) && WEXITSTATUS(status) == 0) ++good;
            }
        });
        forking.join();
        stop = true;
        busy.join();
        CHECK(good == forks_each, "a child of a fork hung or computed something else on " + isa);
    }
}

}  // namespace fastes::tests
