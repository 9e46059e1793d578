#include "fastes/threads.hpp"

#include <pthread.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fastes {
namespace {

// Round to nearest, all exceptions masked, no flush-to-zero, no denormals-are-zero; the old state comes back at the
// end.
class DefaultFloatingPoint {
public:
#if defined(__x86_64__)
    DefaultFloatingPoint() : saved_(_mm_getcsr()) { _mm_setcsr(0x1F80u); }
    ~DefaultFloatingPoint() { _mm_setcsr(saved_); }

private:
    unsigned saved_;
#elif defined(__aarch64__)
    DefaultFloatingPoint() {
        asm volatile("mrs %0, fpcr" : "=r"(saved_));
        asm volatile("msr fpcr, %0" ::"r"(std::uint64_t{0}));
    }
    ~DefaultFloatingPoint() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }

private:
    std::uint64_t saved_;
#else
#error "fastes: say here how to set the floating-point environment of this processor"
#endif
    DefaultFloatingPoint(const DefaultFloatingPoint&) = delete;
    DefaultFloatingPoint& operator=(const DefaultFloatingPoint&) = delete;
};

// One job at a time; whoever finds the pool busy runs its job alone, with the same result. The caller works too.
class Pool {
public:
    using Task = std::function<void(std::size_t)>;

    void run(std::size_t tasks, std::size_t threads, const Task& task) {
        std::unique_lock<std::mutex> only(running_, std::defer_lock);
        if (threads < 2 || !only.try_lock()) {
            for (std::size_t i = 0; i < tasks; ++i) task(i);
            return;
        }
        {
            std::lock_guard<std::mutex> lock(mutex_);
            try {
                for (; workers_ + 1 < threads; ++workers_) {
                    std::thread([this, id = workers_] { work(id); }).detach();
                }
            } catch (const std::system_error&) {  // no more threads to be had here: those that there are do it
                threads = workers_ + 1;
            }
            task_ = &task;
            tasks_ = tasks;
            next_.store(0, std::memory_order_relaxed);
            wanted_ = threads - 1;
            unfinished_ = threads - 1;
            ++job_;
        }
        wake_.notify_all();
        take(task, tasks);
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return unfinished_ == 0; });
        task_ = nullptr;
    }

private:
    void take(const Task& task, std::size_t tasks) {
        for (std::size_t i = next_.fetch_add(1); i < tasks; i = next_.fetch_add(1)) task(i);
    }

    void work(std::size_t id) {
        std::unique_lock<std::mutex> lock(mutex_);
        std::uint64_t seen = job_ - 1;  // started inside run(), before the job is counted or after
        for (;;) {
            wake_.wait(lock, [&] { return job_ != seen && task_ != nullptr; });
            seen = job_;
            if (id >= wanted_) continue;
            const Task& task = *task_;
            const std::size_t tasks = tasks_;
            lock.unlock();
            take(task, tasks);
            lock.lock();
            if (--unfinished_ == 0) done_.notify_one();
        }
    }

    std::mutex running_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::size_t workers_ = 0, wanted_ = 0, unfinished_ = 0, tasks_ = 0;
    std::uint64_t job_ = 0;
    const Task* task_ = nullptr;
    std::atomic<std::size_t> next_{0};
};

// Never destroyed: its threads end with the process. After fork the child has none of them, and perhaps a
// locked mutex; it starts with a pool of its own.
std::atomic<Pool*> current_pool{nullptr};

Pool& pool() {
    static std::once_flag once;
    std::call_once(once, [] {
        current_pool = new Pool;
        pthread_atfork(nullptr, nullptr, [] { current_pool = new Pool; });
    });
    return *current_pool;
}

int usable_processors() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int threads_from_environment() {
    const char* text = std::getenv("FASTES_NUM_THREADS");
    if (text == nullptr || *text == '\0') return usable_processors();
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*end != '\0' || value < 1 || value > 4096) {
        throw std::invalid_argument("FASTES_NUM_THREADS='" + std::string(text) + "' is not a number from 1 to 4096.");
    }
    return static_cast<int>(value);
}

std::atomic<int> threads_wanted{0};

// Below this a thread costs more to wake than it saves: about 20 us of AVX-512 work.
constexpr double normals_per_thread = 32768.0;
// Spans end on multiples of this, so that no two threads write one cache line of an aligned array, and few groups of
// blocks are made by two of them: the widest is of 2048 elements.
constexpr std::uint64_t span_multiple = 2048;
static_assert(span_multiple % clipup_block == 0);

// As many as the work is worth.
std::size_t threads_for(double normals) {
    const double worth = std::max(1.0, normals / normals_per_thread);
    return static_cast<std::size_t>(std::min(worth, static_cast<double>(num_threads())));
}

}  // namespace

int num_threads() {
    int threads = threads_wanted.load();
    if (threads == 0) {
        threads = threads_from_environment();
        threads_wanted = threads;
    }
    return threads;
}

void set_num_threads(int threads) {
    if (threads < 1 || threads > 4096) {
        throw std::invalid_argument("threads must be from 1 to 4096, not " + std::to_string(threads) + ".");
    }
    threads_wanted = threads;
}

float narrowed(double x) {
    const DefaultFloatingPoint guard;
    const volatile double exact = x;  // keeps the conversion inside the guard
    const volatile float rounded = static_cast<float>(exact);
    return rounded;
}

double work(Kind kind, std::size_t rows, std::uint64_t elements) {
    const double share = kind == Kind::normal ? 1.0 : kind == Kind::normal8 ? 0.25 : 0.05;  // docs/performance.md
    return share * static_cast<double>(rows) * static_cast<double>(elements);
}

void for_pieces(std::size_t count, double normals, const std::function<void(std::size_t)>& body) {
    const auto run = [&](std::size_t i) {
        const DefaultFloatingPoint guard;
        body(i);
    };
    pool().run(count, std::min<std::size_t>(threads_for(normals), count), run);
}

void for_spans(std::uint64_t first, std::uint64_t count, double normals, const std::function<void(const Span&)>& body) {
    const std::uint64_t threads = threads_for(normals);
    // Many spans a thread: one that starts late or is held up leaves a small part of its share to the others.
    const std::uint64_t spans = threads == 1 ? 1 : 32 * threads;
    const std::uint64_t rounded = (count / spans + span_multiple - 1) / span_multiple * span_multiple;
    const std::uint64_t length = spans == 1 ? count : std::min(std::max(rounded, span_multiple), count);
    const auto run = [&](std::size_t i) {
        const DefaultFloatingPoint guard;
        const std::uint64_t at = i * length;
        body(Span{first + at, at, std::min(length, count - at)});
    };
    const std::uint64_t tasks = (count + length - 1) / length;
    if (tasks == 1) return run(0);
    pool().run(tasks, std::min(threads, tasks), run);
}

}  // namespace fastes
