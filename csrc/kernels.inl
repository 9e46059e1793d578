// The kernels, once for all instruction sets. A file of isa/ defines FASTES_ISA, FASTES_TABLE and FASTES_LANES,
// includes this, and is compiled with that instruction set's flags; the table is all that leaves it.

#include "fastes/accumulate.hpp"
#include "fastes/clipup.hpp"
#include "fastes/environments/step.hpp"
#include "fastes/low_rank.hpp"
#include "fastes/low_rank_apply.hpp"
#include "fastes/mlp.hpp"
#include "fastes/normal.hpp"
#include "fastes/normal8.hpp"
#include "fastes/optimizer.hpp"
#include "fastes/outputs.hpp"
#include "fastes/rademacher.hpp"
#include "fastes/snes.hpp"

namespace fastes {
inline namespace FASTES_ISA {

using Lanes = FASTES_LANES;

void row_keys(const Address& address, const std::uint32_t* rows, std::size_t count, RowKey* out) {
    const RoundKeys keys(address.seed);
    for (std::size_t k = 0; k < count; ++k) out[k] = row_key(rows[k], address.stream, keys);
}

void philox(const std::uint32_t* counters, std::size_t count, std::uint64_t key, int rounds, std::uint32_t* out) {
    const auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
    for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t words[4];
        for (int k = 0; k < 4; ++k) words[k] = counters[4 * i + static_cast<std::size_t>(k)];
        rounds == 7 ? philox4x32<7>(words, k0, k1) : philox4x32<10>(words, k0, k1);
        for (int k = 0; k < 4; ++k) out[4 * i + static_cast<std::size_t>(k)] = words[k];
    }
}

// body.template operator()<K>() for the kind of noise K.
template <class Body>
void with_kind(Kind kind, const Body& body) {
    switch (kind) {
        case Kind::normal: return body.template operator()<Normal<Lanes>>();
        case Kind::rademacher: return body.template operator()<Rademacher<Lanes>>();
        case Kind::normal8: return body.template operator()<Normal8<Lanes>>();
    }
}

void fill(const Address& address, const RowKey& row, const Span& span, float* out) {
    const RoundKeys keys(address.seed);
    with_kind(address.kind, [&]<class K>() {
        for_groups<Lanes, K>(span, [&]<int G>(std::uint32_t block, std::int64_t position) {
            BlockKeys<Lanes> blocks[G];
            make_block_keys<Lanes, G>(block, address.generation, keys, blocks);
            Lanes::u32 words[G][4];
            philox_words<Lanes, G>(blocks, row, keys, words);
            for (int g = 0; g < G; ++g) {
                const typename K::Group group(words[g]);
                emit<Lanes, K>(group, position + g * group_elements<Lanes, K>, span, Fill<K>{out + span.at});
            }
        });
    });
}

// Members of this many bytes in all are written past the caches, which would not hold them until they are read.
inline constexpr std::uint64_t past_caches_bytes = std::uint64_t{32} << 20;

inline constexpr std::uint64_t tile_elements = 2048;

// A tile of theta and of block keys stays in the first caches while all rows pass over it. Neighbours in the list with
// the same row, as the two members of a mirrored pair are, share one making of their noise.
template <class K, class T, bool past_caches, bool each_its_sigma>
void perturb_tile(const Address& address, const Perturb& args, const Span& tile) {
    constexpr int group = group_elements<Lanes, K>;
    const RoundKeys keys(address.seed);
    BlockKeys<Lanes> blocks[tile_elements / group + 2];  // one more for each end inside a group
    for_groups<Lanes, K>(tile, [&]<int G>(std::uint32_t block, std::int64_t position) {
        make_block_keys<Lanes, G>(block, address.generation, keys, blocks + group_index<Lanes, K>(position));
    });
    const float* theta = args.theta + tile.at;
    for (std::size_t k = 0; k < args.count;) {
        std::size_t same = k + 1;
        while (same < args.count && args.rows[same] == args.rows[k]) ++same;
        for_groups<Lanes, K>(tile, [&]<int G>(std::uint32_t, std::int64_t position) {
            Lanes::u32 words[G][4];
            philox_words<Lanes, G>(blocks + group_index<Lanes, K>(position), args.keys[k], keys, words);
            for (int g = 0; g < G; ++g) {
                const typename K::Group values(words[g]);
                for (std::size_t member = k; member < same; ++member) {
                    T* out = static_cast<T*>(args.out) + member * args.stride + tile.at;
                    const PerturbRow<T, past_caches> row{theta, out, args.scales[member] * K::step};
                    if constexpr (each_its_sigma) {
                        emit<Lanes, K>(values, position + g * group, tile,
                                       PerturbRowEach<T, past_caches>{row, args.sigma + tile.at});
                    } else {
                        emit<Lanes, K>(values, position + g * group, tile, row);
                    }
                }
            }
        });
        k = same;
    }
}

// body.template operator()<T>() for the element type T.
template <class Body>
void with_type(OutputType type, const Body& body) {
    switch (type) {
        case OutputType::float32: return body.template operator()<float>();
        case OutputType::float16: return body.template operator()<float16>();
        case OutputType::bfloat16: return body.template operator()<bfloat16>();
    }
}

void perturb(const Address& address, const Perturb& args, const Span& span) {
    const bool large = args.count * args.stride * sizeof(float) >= past_caches_bytes;
    for (std::uint64_t done = 0; done < span.count; done += tile_elements) {
        const std::uint64_t rest = span.count - done;
        const Span tile{span.first + done, span.at + done, rest < tile_elements ? rest : tile_elements};
        with_kind(address.kind, [&]<class K>() {
            const auto rows = [&]<class T, bool past_caches>() {
                if (args.sigma != nullptr) return perturb_tile<K, T, past_caches, true>(address, args, tile);
                perturb_tile<K, T, past_caches, false>(address, args, tile);
            };
            if (args.type == OutputType::float32 && large) return rows.template operator()<float, true>();
            with_type(args.type, [&]<class T>() { rows.template operator()<T, false>(); });
        });
    }
    if (large) Lanes::fence();
}

// sink(position, g) for every element of the span, whatever the kind.
template <class Sink>
void sum_into(const Address& address, const WeightedRows& rows, const Span& span, const Sink& sink) {
    with_kind(address.kind, [&]<class K>() { weighted_sum<Lanes, K>(address, rows, span, sink); });
}

void weighted_sum_into(const Address& address, const WeightedRows& rows, const Span& span, float* out) {
    sum_into(address, rows, span, Copy{out + span.at});
}

template <class Sink, class SquareSink>
void sums_into(const Address& address, const WeightedRows& rows, const float* square_weights, const Span& span,
               const Sink& sink, const SquareSink& square_sink) {
    with_kind(address.kind,
              [&]<class K>() { weighted_sums<Lanes, K>(address, rows, square_weights, span, sink, square_sink); });
}

void weighted_sums_into(const Address& address, const WeightedRows& rows, const float* square_weights, const Span& span,
                        float* g, float* h) {
    sums_into(address, rows, square_weights, span, Copy{g + span.at}, Copy{h + span.at});
}

void snes_step(const Address& address, const WeightedRows& rows, const Span& span, const SnesStep& step) {
    sums_into(address, rows, rows.weights, span, SnesMean{step, span.at}, SnesSpread{step, span.at});
}

void sgd_step(const Address& address, const WeightedRows& rows, const Span& span, const SgdStep& step) {
    sum_into(address, rows, span, SgdUpdate{step, span.at});
}

void adam_step(const Address& address, const WeightedRows& rows, const Span& span, const AdamStep& step) {
    sum_into(address, rows, span, AdamUpdate{step, span.at});
}

template <class Body>
void for_vectors(std::size_t count, const Body& body) {
    std::size_t i = 0;
    for (; i + Lanes::width <= count; i += Lanes::width) body.template operator()<Lanes>(i);
    for (; i < count; ++i) body.template operator()<ScalarLanes>(i);
}

// sink(position, g) for every element of the span, g the gradient there.
template <class Sink>
void apply(const float* gradient, const Span& span, const Sink& sink) {
    for_vectors(span.count, [&]<class V>(std::size_t i) {
        sink.template operator()<V>(static_cast<std::int64_t>(i), V::load(gradient + span.at + i));
    });
}

void sgd_apply(const float* gradient, const Span& span, const SgdStep& step) {
    apply(gradient, span, SgdUpdate{step, span.at});
}

void adam_apply(const float* gradient, const Span& span, const AdamStep& step) {
    apply(gradient, span, AdamUpdate{step, span.at});
}

void clipup_sums(const float* gradient, const Span& span, const ClipUpStep& step) {
    apply(gradient, span, GradientUpdate{step, span.at});
    sum_blocks(span, step);
}

void clipup_gradient(const Address& address, const WeightedRows& rows, const Span& span, const ClipUpStep& step) {
    sum_into(address, rows, span, GradientUpdate{step, span.at});
    sum_blocks(span, step);
}

void clipup_scales(std::uint64_t blocks, ClipUpStep& step) {
    find_scales(blocks, step);
}

void clipup_apply(const Span& span, const ClipUpStep& step) {
    for_vectors(span.count, [&]<class V>(std::size_t i) { ClipUpUpdate{step, span.at}.template operator()<V>(i); });
}

void low_rank_perturb(const LowRankMember& member) {
    with_type(member.type, [&]<class T>() {
        for (std::size_t i = member.rows_begin; i < member.rows_end; ++i) {
            for_vectors(member.n, [&]<class V>(std::size_t j) { perturb_low_rank<V, T>(member, i, j); });
        }
    });
}

void low_rank_add(const LowRankBlock& block) {
    for (std::size_t j = 0; j < block.columns; j += tile_columns<Lanes>) {
        for (std::size_t i = 0; i < block.rows; i += tile_rows) add_low_rank_tile<Lanes>(block, i, j);
    }
}

void low_rank_apply(const Address& address, const LowRankInputs& inputs) {
    with_type(inputs.type, [&]<class T>() { apply_low_rank<Lanes, T>(address, inputs, fill); });
}

void mlp_pack(const MlpShape& shape, const float* theta, float* packed) {
    pack_mlp(shape, theta, packed);
}

void mlp_forward(const MlpShape& shape, const float* packed, std::size_t rows, const float* x, float* out,
                 float* scratch) {
    forward_mlp<Lanes>(shape, packed, rows, x, out, scratch);
}

template <class D>
void step_episodes(const EpisodeStep& step, std::uint64_t first, std::uint64_t last) {
    const auto write = [](float* to, const float* seen) {
        for (std::size_t k = 0; k < D::sizes.observed; ++k) to[k] = seen[k];
    };
    for (std::uint64_t i = first; i < last; ++i) step_episode<D>(step, i, write);
}

void environment_step(Dynamics dynamics, const EpisodeStep& step, std::uint64_t first, std::uint64_t last) {
    switch (dynamics) {
        case Dynamics::cartpole: return step_episodes<CartPole>(step, first, last);
        case Dynamics::pendulum: return step_episodes<Pendulum>(step, first, last);
    }
}

void radius_of(const std::uint32_t* words, std::size_t count, float* out) {
    for_vectors(count, [&]<class V>(std::size_t i) { V::store(out + i, radius<V>(V::load_words(words + i))); });
}

void direction_of(const std::uint32_t* words, std::size_t count, float* first, float* second) {
    for_vectors(count, [&]<class V>(std::size_t i) {
        typename V::f32 a, b;
        direction<V>(V::load_words(words + i), a, b);
        V::store(first + i, a);
        V::store(second + i, b);
    });
}

void exponential_of(const float* x, std::size_t count, float* out) {
    for_vectors(count, [&]<class V>(std::size_t i) { V::store(out + i, clamped_exponential<V>(V::load(x + i))); });
}

// out: 2 Lanes::width words, whatever the span.
void words_only(const Address& address, const WeightedRows& rows, const Span& span, std::uint32_t* out) {
    const RoundKeys keys(address.seed);
    Lanes::u32 folded[2] = {Lanes::broadcast32(0), Lanes::broadcast32(0)};
    for_groups<Lanes, Normal<Lanes>>(span, [&]<int G>(std::uint32_t block, std::int64_t) {
        BlockKeys<Lanes> blocks[G];
        make_block_keys<Lanes, G>(block, address.generation, keys, blocks);
        for (std::size_t row = 0; row < rows.count; ++row) {
            Lanes::u32 words[G][4];
            philox_words<Lanes, G>(blocks, rows.keys[row], keys, words);
            for (int g = 0; g < G; ++g) {
                folded[0] = Lanes::xor3(folded[0], words[g][0], words[g][1]);
                folded[1] = Lanes::xor3(folded[1], words[g][2], words[g][3]);
            }
        }
    });
    Lanes::store_words(out, folded[0]);
    Lanes::store_words(out + Lanes::width, folded[1]);
}

}  // namespace FASTES_ISA

extern const KernelTable FASTES_TABLE = {
    Lanes::name,       row_keys,           philox,       fill,           perturb,
    weighted_sum_into, weighted_sums_into, sgd_step,     adam_step,      snes_step,
    clipup_gradient,   clipup_scales,      clipup_apply, sgd_apply,      adam_apply,
    clipup_sums,       low_rank_perturb,   low_rank_add, low_rank_apply, mlp_pack,
    mlp_forward,       environment_step,   radius_of,    direction_of,   exponential_of,
    words_only,
};

}  // namespace fastes
