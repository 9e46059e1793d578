#include "fastes/rollout.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "fastes/dispatch.hpp"
#include "fastes/threads.hpp"

#define FASTES_ISA isa_rollout
#include "fastes/environments/decoding.hpp"

namespace fastes {
namespace {

// Episodes side by side: their observations, actions and steps are computed together. Measured for CartPole-v1 and
// 64-64 tanh, one episode a member (AVX-512, 32 KB and 1 MB of caches), ns a step with 1, 4, 8, 16 and 24 of them: 244,
// 275, 249, 241, 239. The 19 KB of one member's weights stay in the first cache, which makes the forward 168 ns instead
// of 220, but the environment's step is then without vectors.
constexpr std::size_t largest_window = 16;
// Weights that stay in the second cache, of 1 MB on most processors. With hidden layers of 256, 280 KB a member, 1, 2,
// 4 and 8 members cost 2690, 2690, 3030 and 3620 ns.
constexpr std::size_t floats_together = 512 * 1024 / sizeof(float);

// Multiply-adds that cost what one normal costs, and the steps of an episode of which nothing is known: what threads
// are worth waking for.
constexpr double products_per_normal = 16.0, steps_expected = 32.0;

struct Game {
    const KernelTable& table;
    const Players& players;
    const Environment& environment;
    const Sight& sight;
    const Decoding& decoding;
    const Moments& moments;
    const Episodes& episodes;  // all of them
};

// The slots that are to be played, taken by any thread, a few neighbours at a time.
class Queue {
public:
    // None are left where there are none.
    struct Some {
        const std::size_t *next = nullptr, *end = nullptr;
    };

    Queue(std::vector<std::size_t> slots, std::size_t together) : slots_(std::move(slots)), together_(together) {}

    std::size_t size() const { return slots_.size(); }

    Some take() {
        const std::size_t first = std::min(next_.fetch_add(together_), slots_.size());
        return {slots_.data() + first, slots_.data() + std::min(first + together_, slots_.size())};
    }

private:
    std::vector<std::size_t> slots_;
    std::size_t together_;
    std::atomic<std::size_t> next_{0};
};

// A few episodes at play, copied side by side; where one ends, the others move up and the queue's next comes last.
class Window {
public:
    Window(const Game& game, std::size_t capacity)
        : game_(game),
          capacity_(capacity),
          slots_(capacity),
          state_(capacity * game.environment.state_size),
          rewards_(capacity),
          returns_(capacity),
          work_(game.environment.work),
          lanes_(game.environment.lanes),
          choices_(capacity),
          steps_(capacity),
          observations_(capacity * game.environment.observation_size),
          seen_(capacity * game.environment.observation_size),
          outputs_(capacity * game.decoding.outputs),
          scratch_(game.players.shape.scratch_floats()),
          flags_(new bool[3 * capacity]) {
        bool* flags = flags_.get();
        void* actions = choices_.data();
        if (game.decoding.low != nullptr) actions = outputs_.data();
        here_ = {state_.data(),
                 actions,
                 flags,
                 steps_.data(),
                 observations_.data(),
                 rewards_.data(),
                 flags + capacity,
                 flags + 2 * capacity,
                 returns_.data(),
                 lanes_.data(),
                 work_.data()};
    }

    std::uint64_t play(Queue& queue) {
        std::uint64_t taken = 0;
        for (fill(queue); count_ > 0; fill(queue)) {
            const auto count = static_cast<std::int64_t>(count_);
            do {
                act();
                taken += count_;
            } while (game_.environment.step(&here_, count, game_.environment.max_steps) == count);
            retire();
        }
        return taken;
    }

private:
    void fill(Queue& queue) {
        for (; count_ < capacity_; ++count_) {
            if (waiting_.next == waiting_.end) waiting_ = queue.take();
            if (waiting_.next == waiting_.end) return;
            enter(*waiting_.next++);
        }
    }

    void enter(std::size_t slot) {
        const Episodes& all = game_.episodes;
        const std::size_t states = game_.environment.state_size, observed = game_.environment.observation_size;
        slots_[count_] = slot;
        std::copy_n(all.state + slot * states, states, here_.state + count_ * states);
        std::copy_n(all.observations + slot * observed, observed, here_.observations + count_ * observed);
        here_.active[count_] = true;
        here_.steps[count_] = all.steps[slot];
        here_.returns[count_] = all.returns[slot];
    }

    void act() {
        const Players& players = game_.players;
        const std::size_t observed = game_.environment.observation_size, outputs = game_.decoding.outputs;
        if (game_.moments.sampled != nullptr) sample();
        const float* seen = here_.observations;
        if (!game_.sight.plain()) {
            for (std::size_t i = 0; i < count_; ++i) {
                see(game_.sight, here_.observations + i * observed, observed, seen_.data() + i * observed);
            }
            seen = seen_.data();
        }
        for (std::size_t i = 0; i < count_;) {
            const std::size_t member = slots_[i] / players.batch, first = i;
            while (++i < count_ && slots_[i] / players.batch == member) {
            }
            game_.table.mlp_forward(players.shape, players.packed + member * players.packed_floats, i - first,
                                    seen + first * observed, outputs_.data() + first * outputs, scratch_.data());
        }
        float* output = outputs_.data();
        for (std::size_t i = 0; i < count_; ++i, output += outputs) {
            if (game_.decoding.low == nullptr) {
                choices_[i] = argmax(output, outputs);
                continue;
            }
            for (std::size_t k = 0; k < outputs; ++k) {
                output[k] = clip(output[k], game_.decoding.low[k], game_.decoding.high[k]);
            }
        }
    }

    void sample() {
        const std::size_t observed = game_.environment.observation_size;
        for (std::size_t i = 0; i < count_; ++i) {
            if (!game_.moments.sampled[slots_[i]]) continue;
            const float* observation = here_.observations + i * observed;
            double* total = game_.moments.totals + slots_[i] * observed;
            double* square = game_.moments.squares + slots_[i] * observed;
            for (std::size_t k = 0; k < observed; ++k) {
                const double value = static_cast<double>(observation[k]);
                total[k] += value;
                square[k] += value * value;
            }
        }
    }

    // Those that have ended go back to where they came from.
    void retire() {
        std::size_t kept = 0;
        for (std::size_t i = 0; i < count_; ++i) {
            if (!here_.active[i]) {
                leave(i);
            } else {
                if (kept < i) move(i, kept);
                ++kept;
            }
        }
        count_ = kept;
    }

    void leave(std::size_t i) const {
        const Episodes& all = game_.episodes;
        const std::size_t states = game_.environment.state_size, observed = game_.environment.observation_size;
        const std::size_t slot = slots_[i];
        std::copy_n(here_.state + i * states, states, all.state + slot * states);
        std::copy_n(here_.observations + i * observed, observed, all.observations + slot * observed);
        all.active[slot] = false;
        all.steps[slot] = here_.steps[i];
        all.rewards[slot] = here_.rewards[i];
        all.terminated[slot] = here_.terminated[i];
        all.truncated[slot] = here_.truncated[i];
        all.returns[slot] = here_.returns[i];
    }

    // What the next step reads.
    void move(std::size_t from, std::size_t to) {
        const std::size_t states = game_.environment.state_size, observed = game_.environment.observation_size;
        slots_[to] = slots_[from];
        std::copy_n(here_.state + from * states, states, here_.state + to * states);
        std::copy_n(here_.observations + from * observed, observed, here_.observations + to * observed);
        here_.active[to] = true;
        here_.steps[to] = here_.steps[from];
        here_.returns[to] = here_.returns[from];
    }

    const Game& game_;
    std::size_t capacity_, count_ = 0;
    Queue::Some waiting_;
    std::vector<std::size_t> slots_;
    std::vector<double> state_, rewards_, returns_, work_;
    std::vector<std::int64_t> lanes_, choices_;
    std::vector<std::uint32_t> steps_;
    std::vector<float> observations_, seen_, outputs_, scratch_;
    std::unique_ptr<bool[]> flags_;
    Episodes here_;
};

}  // namespace

void see(const Sight& sight, const float* observation, std::size_t size, float* seen) {
    for (std::size_t k = 0; k < size; ++k) {
        seen[k] = sight.mean != nullptr ? (observation[k] - sight.mean[k]) * sight.scale[k] : observation[k];
    }
    if (!(sight.clip > 0.0f)) return;
    for (std::size_t k = 0; k < size; ++k) seen[k] = clip(seen[k], -sight.clip, sight.clip);
}

std::uint64_t play(const Players& players, const Environment& environment, const Sight& sight, const Decoding& decoding,
                   const Moments& moments, const Episodes& episodes, std::size_t n) {
    std::vector<std::size_t> slots;
    slots.reserve(n);
    for (std::size_t slot = 0; slot < n; ++slot) {
        if (episodes.active[slot]) slots.push_back(slot);
    }
    if (slots.empty()) return 0;
    const Game game{kernels(), players, environment, sight, decoding, moments, episodes};
    const std::size_t threads = std::min(static_cast<std::size_t>(num_threads()), slots.size());
    const std::size_t members = std::max<std::uint64_t>(1, floats_together / players.packed_floats);
    const std::size_t capacity =
        std::min({largest_window, members * players.batch, (slots.size() + threads - 1) / threads});
    Queue queue(std::move(slots), std::min(players.batch, capacity));
    std::vector<Window> windows;
    windows.reserve(threads);
    for (std::size_t thread = 0; thread < threads; ++thread) windows.emplace_back(game, capacity);
    const double products = static_cast<double>(players.packed_floats) * static_cast<double>(queue.size());
    std::atomic<std::uint64_t> taken{0};
    for_pieces(threads, products * steps_expected / products_per_normal,
               [&](std::size_t thread) { taken += windows[thread].play(queue); });
    return taken;
}

}  // namespace fastes
