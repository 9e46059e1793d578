// Which instruction set is used: the best that the processor has, or the one that FASTES_ISA or select_isa names.
#pragma once

#include <string>
#include <vector>

#include "fastes/kernel_table.hpp"

namespace fastes {

// Throws std::invalid_argument if FASTES_ISA names one that was not built or that the processor lacks.
const KernelTable& kernels();
void select_isa(const std::string& name);

std::vector<std::string> isas_built();
std::vector<std::string> isas_usable();  // by this processor, best first

}  // namespace fastes
