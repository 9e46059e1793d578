// What surrounds a call must not matter: the caller's floating-point modes, and fork while other threads work.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <thread>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "tests.hpp"

namespace fastes::tests {

void test_floating_point_environment() {
#if defined(__x86_64__)
    constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x0040, toward_zero = 0x6000;
    // Subnormal weights, products, sums and parameters: any flush would show.
    const Noise noise{{5, 0, 0}, rows_from(0, 65), 3, 4099};
    std::vector<float> weights = ramps(65), theta = ramps(4099);
    for (float& weight : weights) weight *= 0x1p-138f;
    for (float& x : theta) x *= 0x1p-138f;
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        for (const int threads : {1, 2}) {
            set_num_threads(threads);
            const auto sum = noise.weighted_sum(weights);
            const auto out = noise.perturb<float>(theta, weights, OutputType::float32);
            CHECK(std::fpclassify(sum[0]) == FP_SUBNORMAL && std::fpclassify(out[0]) == FP_SUBNORMAL,
                  "the inputs make no subnormals: the test is void");
            const unsigned before = _mm_getcsr();
            const unsigned hostile = before | flush_to_zero | denormals_are_zero | toward_zero;
            _mm_setcsr(hostile);
            const auto hostile_sum = noise.weighted_sum(weights);
            const auto hostile_out = noise.perturb<float>(theta, weights, OutputType::float32);
            const unsigned after = _mm_getcsr();
            _mm_setcsr(before);
            const std::string where = " on " + isa + ", " + std::to_string(threads) + " threads, hostile modes";
            check_same(sum, hostile_sum, "weighted_sum" + where);
            check_same(out, hostile_out, "perturb" + where);
            CHECK(after == hostile, "the caller's MXCSR was not put back" + where);
        }
    }
#endif
}

void test_fork() {
    select_isa(isas_usable().front());
    set_num_threads(2);
    const Noise noise{{8, 0, 0}, rows_from(0, 65), 0, 4099};
    const auto weights = ramps(65);
    const auto expected = noise.weighted_sum(weights);

    std::atomic<bool> stop{false};
    std::thread busy([&] {
        while (!stop) noise.weighted_sum(weights);
    });
    for (int i = 0; i < 20; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(60);  // a hang ends as a failure
            _exit(noise.weighted_sum(weights) == expected ? 0 : 1);
        }
        int status = -1;
        waitpid(child, &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child of a fork hung or computed something else");
    }
    stop = true;
    busy.join();
}

}  // namespace fastes::tests
