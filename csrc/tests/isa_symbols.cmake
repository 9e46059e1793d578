# No function compiled with an instruction set's flags may be visible under a name that another translation unit could
# share: the linker keeps one copy for all, and a processor without that instruction set would run it.
#
#     cmake -D NM=nm -D LIBRARY=libfastes_kernels.a -P isa_symbols.cmake
execute_process(COMMAND ${NM} -A --defined-only ${LIBRARY} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" lines "${symbols}")
set(seen 0)
foreach(line IN LISTS lines)
  # archive:member:address type name; capital letters and u, v, w are visible to the linker.
  if(NOT line MATCHES "(avx2|avx512|avx512vbmi)\\.cpp\\.o(bj)?:[0-9a-fA-F]* *([A-Zuvw]) (.+)$")
    continue()
  endif()
  set(isa ${CMAKE_MATCH_1})
  set(name ${CMAKE_MATCH_4})
  math(EXPR seen "${seen} + 1")
  if(NOT name MATCHES "isa_${isa}" AND NOT name MATCHES "^_ZN6fastes[0-9]+${isa}_kernelsE$")
    message(SEND_ERROR "the ${isa} object defines ${name} for everyone; put it in namespace isa_${isa}")
  endif()
endforeach()
if(seen EQUAL 0)
  message(FATAL_ERROR "no symbols of avx2.cpp.o, avx512.cpp.o or avx512vbmi.cpp.o in ${LIBRARY}: has their name changed?")
endif()
message(STATUS "${seen} visible symbols, each in its instruction set's namespace")
