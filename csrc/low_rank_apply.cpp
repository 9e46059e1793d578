// Low-rank noise applied to a layer's inputs, in pieces of rows that have the same noise.
#include <algorithm>
#include <atomic>
#include <vector>

#include "fastes/dispatch.hpp"
#include "fastes/passes.hpp"
#include "fastes/threads.hpp"

namespace fastes {
namespace {

// Rows of x in a piece: noise is made once for them, and making it costs what some ten rows' products cost.
constexpr std::size_t rows_of_piece = 64;

// Multiply-adds with what is in a cache that cost what one normal costs.
constexpr double products_per_normal = 12.0;

struct Piece {
    std::size_t begin, count;  // rows of x
};

// Neighbours with the same row of noise, at most rows_of_piece.
std::vector<Piece> pieces_of(const std::uint32_t* numbers, const LayerRows& rows) {
    std::vector<Piece> pieces;
    for (std::size_t begin = 0; begin < rows.count;) {
        const std::size_t member = begin / rows.of_member;
        std::size_t end = (member + 1) * rows.of_member;
        while (end < rows.count && numbers[end / rows.of_member] == numbers[member]) end += rows.of_member;
        for (; begin < end; begin += rows_of_piece) pieces.push_back({begin, std::min(rows_of_piece, end - begin)});
        begin = end;
    }
    return pieces;
}

}  // namespace

void low_rank_apply(const Address& address, const std::uint32_t* numbers, const RowKey* keys, const float* scales,
                    const LowRank& shape, const LayerRows& rows) {
    const KernelTable& table = kernels();
    const std::size_t m = shape.m, n = shape.n, rank = shape.rank;
    const std::size_t bytes = rows.type == OutputType::float32 ? 4 : 2;
    const std::vector<Piece> pieces = pieces_of(numbers, rows);
    const float root = root_scale(rank);
    // Bodies must not allocate, so each thread's turn has a place for its noise and products.
    const std::size_t place = std::max(n, rank * low_rank_tile) + low_rank_padding + rows_of_piece * rank;
    const std::size_t turns = std::min<std::size_t>(pieces.size(), static_cast<std::size_t>(num_threads()));
    std::vector<float> scratch(turns * place);
    std::atomic<std::size_t> next{0};
    const double elements = static_cast<double>(rank) * static_cast<double>(m + n);
    const double normals = work(address.kind, pieces.size(), rank * (m + n)) +
                           static_cast<double>(rows.count) * elements / products_per_normal;
    for_pieces(turns, normals, [&](std::size_t turn) {
        for (std::size_t i = next.fetch_add(1); i < pieces.size(); i = next.fetch_add(1)) {
            const auto [begin, count] = pieces[i];
            table.low_rank_apply(address, {keys[begin / rows.of_member], m, n, rank, shape.first,
                                           static_cast<const char*>(rows.x) + begin * n * bytes,
                                           static_cast<char*>(rows.y) + begin * m * bytes, rows.type, count, begin,
                                           rows.of_member, scales, root, scratch.data() + turn * place});
        }
    });
}

}  // namespace fastes
