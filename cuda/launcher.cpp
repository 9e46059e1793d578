#include "launcher.hpp"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "entries.hpp"

namespace fastes::cuda {
namespace {

std::string version(int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

// What a driver supports, as the runtime counts; 0 without one.
int driver_number() {
    int number = 0;
    return cudaDriverGetVersion(&number) == cudaSuccess ? number : 0;
}

std::string no_driver() {
    return "no NVIDIA driver is installed (libcuda.so.1 is not found): install it; a container has to be started with "
           "its GPUs, as with docker run --gpus all";
}

std::string no_gpu() {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    const std::string setting = visible == nullptr ? " is not set" : std::string("=").append(visible);
    return "no NVIDIA GPU is visible (CUDA_VISIBLE_DEVICES" + setting + ")";
}

std::string old_driver() {
    return "the NVIDIA driver supports CUDA " + version(driver_number()) +
           " at most, and fastes._cuda was built with " + version(CUDART_VERSION) +
           ": update the driver, or build again with an older toolkit";
}

std::string built_for() {
    const std::string capabilities = FASTES_CUDA_CAPABILITIES;
    const std::string ptx = FASTES_CUDA_PTX;
    std::string result;
    if (!capabilities.empty()) result += "compute capabilities " + capabilities;
    if (!capabilities.empty() && !ptx.empty()) result += " and ";
    if (!ptx.empty()) result += "PTX " + ptx;
    return result.empty() ? "what nvcc chose" : result;
}

std::string build_again(int device) {
    int major = 0;
    int minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    const std::string number = std::to_string(major) + std::to_string(minor);
    return "fastes._cuda was built for " + built_for() + "; this GPU has " + std::to_string(major) + "." +
           std::to_string(minor) + ": build again with -DCMAKE_CUDA_ARCHITECTURES=" + number +
           " (pip install . -C cmake.define.CMAKE_CUDA_ARCHITECTURES=" + number + ")" +
           (major * 10 + minor < 75 ? " and toolkit 12" : "");
}

// What a user can do about it, after a colon; nothing where CUDA's own words have to do.
std::string in_words(cudaError_t error, int device) {
    const std::string own = cudaGetErrorString(error);
    switch (error) {
        case cudaErrorInsufficientDriver: return driver_number() == 0 ? no_driver() : old_driver();
        case cudaErrorNoDevice: return driver_number() == 0 ? no_driver() : no_gpu();
        case cudaErrorNoKernelImageForDevice: return build_again(device);
        case cudaErrorUnsupportedPtxVersion: return old_driver() + ", or " + build_again(device);
        case cudaErrorInitializationError:
            return own + ": a process made by fork cannot use the GPU that its parent has used; start it by spawn";
        case cudaErrorIllegalAddress:
        case cudaErrorMisalignedAddress:
        case cudaErrorLaunchFailure: return own + ", perhaps of an earlier launch: CUDA_LAUNCH_BLOCKING=1 shows whose";
        default: return own;
    }
}

// Also takes the error from the thread's memory, where the next call of another library would find it.
void check(cudaError_t error, const std::string& what, int device) {
    if (error == cudaSuccess) return;
    cudaGetLastError();
    throw std::runtime_error(what + ": " + in_words(error, device));
}

class CurrentDevice {
public:
    explicit CurrentDevice(int device) : device_(device) {
        const std::string what = "GPU " + std::to_string(device);
        check(cudaGetDevice(&before_), what, device);
        if (before_ != device_) check(cudaSetDevice(device_), what, device);
    }
    ~CurrentDevice() {
        if (before_ != device_ && cudaSetDevice(before_) != cudaSuccess) cudaGetLastError();
    }
    CurrentDevice(const CurrentDevice&) = delete;
    CurrentDevice& operator=(const CurrentDevice&) = delete;

private:
    int device_;
    int before_ = 0;
};

// Lets this thread load kernels while one of its streams is captured.
class RelaxedCapture {
public:
    RelaxedCapture() { exchange(); }
    ~RelaxedCapture() { exchange(); }
    RelaxedCapture(const RelaxedCapture&) = delete;
    RelaxedCapture& operator=(const RelaxedCapture&) = delete;

private:
    void exchange() {
        if (cudaThreadExchangeStreamCaptureMode(&mode_) != cudaSuccess) cudaGetLastError();
    }

    cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

const Entry& entry_of(const fastes::device::Launch& launch) {
    for (std::size_t i = 0; i < entry_count; ++i) {
        if (launch.kernel != entries[i].name) continue;
        if (launch.parameters.size() != entries[i].parameter_bytes || launch.threads != entries[i].threads) {
            throw std::runtime_error("kernel " + launch.kernel + " takes " + std::to_string(entries[i].threads) +
                                     " threads and " + std::to_string(entries[i].parameter_bytes) +
                                     " bytes of parameters, not " + std::to_string(launch.threads) + " and " +
                                     std::to_string(launch.parameters.size()) +
                                     ": fastes._core and fastes._cuda are of different builds; install fastes again");
        }
        return entries[i];
    }
    throw std::runtime_error("fastes._cuda has no kernel " + launch.kernel +
                             ": fastes._core and fastes._cuda are of different builds; install fastes again");
}

}  // namespace

void launch(int device, std::uintptr_t stream, const std::vector<fastes::device::Launch>& launches) {
    std::vector<const Entry*> found;
    found.reserve(launches.size());
    for (const fastes::device::Launch& each : launches) found.push_back(&entry_of(each));
    const CurrentDevice current(device);
    for (std::size_t i = 0; i < launches.size(); ++i) {
        const fastes::device::Launch& each = launches[i];
        void* arguments[] = {const_cast<std::byte*>(each.parameters.data())};  // read only: the runtime copies them
        const cudaError_t error =
            cudaLaunchKernel(found[i]->function, dim3(each.grid_x, each.grid_y), dim3(each.threads), arguments, 0,
                             reinterpret_cast<cudaStream_t>(stream));
        if (error != cudaSuccess) check(error, "kernel " + each.kernel + " on GPU " + std::to_string(device), device);
    }
}

int device_count() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count == 0) throw std::runtime_error(no_gpu());
    if (error != cudaSuccess) {
        cudaGetLastError();
        throw std::runtime_error(in_words(error, 0));
    }
    return count;
}

Properties device_properties(int device) {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, device), "GPU " + std::to_string(device), device);
    return {properties.name,
            {properties.major, properties.minor},
            properties.multiProcessorCount,
            properties.totalGlobalMem};
}

int pointer_device(std::uintptr_t pointer) {
    char digits[2 + 2 * sizeof pointer + 1];
    std::snprintf(digits, sizeof digits, "0x%llx", static_cast<unsigned long long>(pointer));
    const std::string what = "pointer " + std::string(digits);
    cudaPointerAttributes attributes;
    check(cudaPointerGetAttributes(&attributes, reinterpret_cast<const void*>(pointer)), what, 0);
    if (attributes.devicePointer == nullptr) throw std::runtime_error(what + " is not memory that a GPU can reach");
    return attributes.device;
}

std::optional<std::string> problem(int device) try {
    const CurrentDevice current(device);
    const RelaxedCapture relaxed;
    for (std::size_t i = 0; i < entry_count; ++i) {
        cudaFuncAttributes attributes;
        check(cudaFuncGetAttributes(&attributes, entries[i].function), "kernel " + std::string(entries[i].name),
              device);
    }
    return std::nullopt;
} catch (const std::runtime_error& error) {
    return error.what();
}

std::string describe() {
    return "extension, toolkit " + version(CUDART_VERSION) + ", " + built_for();
}

std::optional<std::string> driver_version() {
    const int number = driver_number();
    if (number == 0) return std::nullopt;
    return version(number);
}

}  // namespace fastes::cuda
