// A GPU of the tests: runs the bodies of fastes/device/ over a grid in the memory of the CPU, thread after thread
// between the places where they wait for each other.
#pragma once

#include "fastes/plan.hpp"

namespace fastes::device {

// Throws std::invalid_argument if there is no such kernel or its parameters are of another size.
void simulate(const Launch& launch);

}  // namespace fastes::device
