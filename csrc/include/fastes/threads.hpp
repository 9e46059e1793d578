// Work over threads: a pool that lives as long as the process, survives fork, and changes no result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "fastes/kernel_table.hpp"

namespace fastes {

// FASTES_NUM_THREADS, else the number of processors that this process may use.
int num_threads();
void set_num_threads(int threads);

// x rounded to float in the default floating-point environment: flush-to-zero must not reach settings either.
float narrowed(double x);

// What making `rows` times `elements` values of a kind costs, in normals.
double work(Kind kind, std::size_t rows, std::uint64_t elements);

// The bodies below must not throw: other threads would go on with what is gone. Allocate before.

// Splits `count` elements, noise element `first` being array element 0, into spans and runs body on each, on
// as many threads as `normals` normals are worth. Every body runs in the default floating-point environment (round to
// nearest, subnormals kept), whatever the caller's is; the caller's is put back.
void for_spans(std::uint64_t first, std::uint64_t count, double normals, const std::function<void(const Span&)>& body);

// The same for work that comes in `count` pieces.
void for_pieces(std::size_t count, double normals, const std::function<void(std::size_t)>& body);

}  // namespace fastes
