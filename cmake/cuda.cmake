# FASTES_CUDA: whether the extension _cuda is built. Sets fastes_with_cuda, and enables the language CUDA if so.
#
#     cmake -DFASTES_CUDA=OFF ...
#     pip install . -C cmake.define.FASTES_CUDA=OFF
#     SKBUILD_CMAKE_DEFINE=FASTES_CUDA=OFF pip install .      or CMAKE_ARGS=-DFASTES_CUDA=OFF
#
# CUDACXX (or PATH) says which nvcc, CMAKE_CUDA_ARCHITECTURES for which GPUs: those of this machine unless given.
set(FASTES_CUDA AUTO CACHE STRING "The extension for GPUs: AUTO (with a CUDA toolkit that works), ON or OFF")
set_property(CACHE FASTES_CUDA PROPERTY STRINGS AUTO ON OFF)
set(fastes_cuda_minimum 12.4)
set(fastes_cuda_architectures 75-real 80-real 86-real 89-real 90-real 90-virtual)  # where no GPU says otherwise

set(fastes_with_cuda OFF)
if(NOT FASTES_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "FASTES_CUDA must be AUTO, ON or OFF, not ${FASTES_CUDA}.")
elseif(FASTES_CUDA STREQUAL "OFF")
  return()
endif()

# Looks for a compiler that works. Remembers it as FASTES_NVCC, with what this machine's GPUs are; or says in
# fastes_cuda_problem why there is none.
function(fastes_probe_cuda)
  set(folder "${CMAKE_BINARY_DIR}/cuda_probe")
  set(log "${folder}/log.txt")
  file(REMOVE_RECURSE "${folder}")
  set(settings "-DCMAKE_MAKE_PROGRAM=${CMAKE_MAKE_PROGRAM}" "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}")
  foreach(name IN ITEMS CMAKE_CUDA_COMPILER CMAKE_CUDA_HOST_COMPILER CMAKE_CUDA_FLAGS CUDAToolkit_ROOT)
    if(${name})
      list(APPEND settings "-D${name}=${${name}}")
    endif()
  endforeach()
  if(CMAKE_CUDA_COMPILER)
    set(nvcc "${CMAKE_CUDA_COMPILER}")
  elseif(DEFINED ENV{CUDACXX})
    set(nvcc "$ENV{CUDACXX}")
  else()
    find_program(nvcc nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin NO_CACHE)
    if(NOT nvcc)
      set(fastes_cuda_problem "no nvcc was found." PARENT_SCOPE)
      return()
    endif()
    list(APPEND settings "-DCMAKE_CUDA_COMPILER=${nvcc}")
  endif()
  execute_process(COMMAND "${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/cuda_probe" -B "${folder}"
                          -G "${CMAKE_GENERATOR}" ${settings}
                  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  file(WRITE "${log}" "${output}")
  if(NOT status EQUAL 0)
    string(FIND "${output}" "CMake Error" start)
    string(SUBSTRING "${output}" ${start} -1 message)
    string(REGEX REPLACE "\n(Call Stack|--).*" "" message "${message}")
    string(REGEX REPLACE "^CMake Error at [^\n]*:|[ \n]+" " " message "${message}")
    string(STRIP "${message}" message)
    set(fastes_cuda_problem "${nvcc} does not work (${log}): ${message}" PARENT_SCOPE)
    return()
  endif()
  include("${folder}/found.cmake")
  if(NOT compiler_id STREQUAL "NVIDIA")
    set(fastes_cuda_problem "${compiler} is not NVIDIA's nvcc." PARENT_SCOPE)
  elseif(version VERSION_LESS fastes_cuda_minimum)
    set(fastes_cuda_problem "${compiler} is of toolkit ${version}." PARENT_SCOPE)
  else()
    set(FASTES_NVCC "${compiler}" CACHE INTERNAL "The CUDA compiler that was seen to work")
    set(FASTES_NATIVE "${native}" CACHE INTERNAL "Compute capabilities of this machine's GPUs")
  endif()
endfunction()

if(NOT FASTES_NVCC)
  fastes_probe_cuda()
endif()
if(NOT FASTES_NVCC)
  string(CONCAT remedy
         "Install CUDA toolkit ${fastes_cuda_minimum} or later and put its nvcc on PATH, or name it in CUDACXX.")
  if(FASTES_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FASTES_CUDA=ON, but ${fastes_cuda_problem}\n${remedy}")
  endif()
  message(STATUS "fastes without its extension for GPUs: ${fastes_cuda_problem}\n   ${remedy}\n   Without, CuPy (the extra "
                 "cuda12 or cuda13) compiles the same kernels when they are first used.")
  return()
endif()

set(CMAKE_CUDA_COMPILER "${FASTES_NVCC}" CACHE FILEPATH "CUDA compiler")
if(NOT CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
  if(FASTES_NATIVE)
    set(fastes_cuda_architectures ${FASTES_NATIVE})
  endif()
  set(CMAKE_CUDA_ARCHITECTURES "${fastes_cuda_architectures}" CACHE STRING "Compute capabilities to compile for")
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(fastes_with_cuda ON)
