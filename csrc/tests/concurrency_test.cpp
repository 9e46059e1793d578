// Kernels called by several threads at once, while another changes the instruction set and the number of threads.
#include <atomic>
#include <thread>

#include "workload.hpp"

namespace fastes::tests {
namespace {

constexpr std::size_t callers = 4, generations = 2;
constexpr std::size_t dim = 4099;  // with 65 rows, work for seven threads

// Generations of each kind, by turns.
std::vector<Workload> workloads() {
    std::vector<Workload> all;
    for (std::uint32_t generation = 0; generation < generations; ++generation) {
        for (const Kind kind : kinds) all.emplace_back(kind, dim, generation);
    }
    return all;
}

template <class Beside>
std::size_t differences(const std::vector<Workload>& all, const std::vector<std::uint64_t>& expected,
                        const Beside& beside) {
    std::atomic<std::size_t> different{0}, finished{0};
    std::vector<std::thread> threads;
    for (std::size_t caller = 0; caller < callers; ++caller) {
        threads.emplace_back([&, caller] {
            for (std::size_t i = 0; i < all.size(); ++i) {
                const std::size_t which = (i + 2 * caller) % all.size();
                if (all[which].digest() != expected[which]) ++different;
            }
            ++finished;
        });
    }
    while (finished < callers) beside();
    for (auto& thread : threads) thread.join();
    return different;
}

void test_callers() {
    const auto all = workloads();
    std::vector<std::uint64_t> expected;
    select_isa("scalar");
    set_num_threads(1);
    for (const Workload& workload : all) expected.push_back(workload.digest());
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        for (const int threads : {2, 7}) {
            set_num_threads(threads);
            const std::size_t different = differences(all, expected, [] { std::this_thread::yield(); });
            CHECK(different == 0, "several callers at once on " + isa + ", " + std::to_string(threads) + " threads");
        }
    }
    const std::size_t different = differences(all, expected, [] {
        for (const auto& isa : isas_usable()) {
            select_isa(isa);
            for (const int threads : {7, 1, 2}) {
                set_num_threads(threads);
                std::this_thread::yield();
            }
        }
    });
    CHECK(different == 0, "several callers at once while instruction set and thread count change");
}

}  // namespace
}  // namespace fastes::tests

int main() {
    using namespace fastes::tests;
    test_callers();
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
