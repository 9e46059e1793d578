// csrc/testdata on every instruction set. The files' headers say what their columns are.
#include <cmath>
#include <fstream>
#include <functional>
#include <sstream>

#include "tensor.hpp"

namespace fastes::tests {
namespace {

// The last column: hexadecimal words, or their hash where there are more than 97.
template <class T>
std::string as_text(const std::vector<T>& values) {
    char word[17];
    if (values.size() > 97) {
        std::uint64_t hash = 0xCBF29CE484222325u;
        for (const T value : values) hash = (hash ^ bits(value)) * 0x100000001B3u;
        std::snprintf(word, sizeof word, "%016llx", static_cast<unsigned long long>(hash));
        return word;
    }
    std::string text;
    for (const T value : values) {
        std::snprintf(word, sizeof word, "%0*x", static_cast<int>(2 * sizeof(T)), bits(value));
        if (!text.empty()) text += ' ';
        text += word;
    }
    return text;
}

std::string rest_of(std::istream& line) {
    std::string text;
    std::getline(line >> std::ws, text);
    return text;
}

struct Numbers {
    std::uint64_t seed, offset;
    std::uint32_t generation, stream, row;
    std::size_t dim;

    Noise noise(Kind kind, std::vector<std::uint32_t> rows) const {
        return {{seed, stream, generation, kind}, std::move(rows), offset, dim};
    }
};

std::istream& operator>>(std::istream& line, Numbers& n) {
    return line >> n.seed >> n.generation >> n.stream >> n.row >> n.offset >> n.dim;
}

template <class T>
T next(std::istream& line) {
    T value{};
    line >> value;
    return value;
}

Kind kind_of(const std::string& name) {
    return name == "normal" ? Kind::normal : name == "rademacher" ? Kind::rademacher : Kind::normal8;
}

// Scales +scale and -scale in turns, for a column with the bits of one.
std::vector<float> scales_of(std::istream& line, std::size_t count) {
    std::uint32_t scale = 0;
    line >> std::hex >> scale;
    std::vector<float> scales(count);
    for (std::size_t i = 0; i < count; ++i) scales[i] = i % 2 == 0 ? from_bits(scale) : -from_bits(scale);
    return scales;
}

template <class Noises, class... Sigma>
std::string perturbed(const Noises& noise, const std::vector<float>& theta, const std::vector<float>& scales,
                      const std::string& type, const Sigma&... sigma) {
    if (type == "float32") return as_text(noise.template perturb<float>(theta, scales, OutputType::float32, sigma...));
    const OutputType output = type == "float16" ? OutputType::float16 : OutputType::bfloat16;
    return as_text(noise.template perturb<std::uint16_t>(theta, scales, output, sigma...));
}

std::vector<float> reversed(const std::vector<float>& values) {
    return {values.rbegin(), values.rend()};
}

std::vector<float> magnitudes(std::vector<float> values) {
    for (float& x : values) x = std::abs(x);
    return values;
}

std::vector<float> joined(std::vector<float> a, const std::vector<float>& b, const std::vector<float>& c = {}) {
    a.insert(a.end(), b.begin(), b.end());
    a.insert(a.end(), c.begin(), c.end());
    return a;
}

std::string philox(std::istream& line) {
    int rounds = 0;
    std::uint32_t counter[4], key[2];
    line >> rounds >> std::hex;
    for (auto& word : counter) line >> word;
    for (auto& word : key) line >> word;
    std::vector<std::uint32_t> words(4);
    const std::uint64_t both = key[0] | std::uint64_t{key[1]} << 32;
    if (target.gpu) {
        carry_out(device::philox(counter, 1, both, rounds, words.data()));
    } else {
        kernels().philox(counter, 1, both, rounds, words.data());
    }
    return as_text(words);
}

std::string normal(Kind kind, std::istream& line) {
    const auto numbers = next<Numbers>(line);
    return as_text(numbers.noise(kind, {numbers.row}).normal());
}

std::string perturb(const std::string& type, Kind kind, std::istream& line, bool with_sigma = false) {
    const auto numbers = next<Numbers>(line);
    const auto scales = scales_of(line, next<std::size_t>(line));
    std::vector<std::uint32_t> rows(scales.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = numbers.row + static_cast<std::uint32_t>(i / 2);
    const Noise noise = numbers.noise(kind, rows);
    const auto theta = ramps(numbers.dim);
    if (with_sigma) return perturbed(noise, theta, scales, type, magnitudes(reversed(theta)));
    return perturbed(noise, theta, scales, type);
}

std::string weighted_sum(Kind kind, std::istream& line) {
    const auto numbers = next<Numbers>(line);
    const auto count = next<std::size_t>(line);
    return as_text(numbers.noise(kind, rows_from(numbers.row, count)).weighted_sum(ramps(count)));
}

std::string weighted_sums(std::istream& line) {
    const Kind kind = kind_of(next<std::string>(line));
    const auto numbers = next<Numbers>(line);
    const auto weights = ramps(next<std::size_t>(line));
    const Sums sums =
        numbers.noise(kind, rows_from(numbers.row, weights.size())).weighted_sums(weights, reversed(weights));
    return as_text(joined(sums.g, sums.h));
}

Tensor tensor(std::istream& line) {
    const Kind kind = kind_of(next<std::string>(line));
    Numbers n{};
    LowRank shape{};
    line >> n.seed >> n.generation >> n.stream >> n.row >> n.offset >> shape.m >> shape.n >> shape.rank;
    shape.first = n.offset;
    return {{n.seed, n.stream, n.generation, kind}, rows_from(n.row, next<std::size_t>(line)), shape};
}

std::string low_rank_factors(std::istream& line) {
    return as_text(tensor(line).factors());
}

std::string low_rank_perturb(std::istream& line) {
    const auto type = next<std::string>(line);
    const Tensor noise = tensor(line);
    return perturbed(noise, ramps(noise.size()), scales_of(line, noise.rows.size()), type);
}

std::string low_rank_sum(std::istream& line) {
    const Tensor noise = tensor(line);
    return as_text(noise.sum(ramps(noise.rows.size())));
}

// What the lines of optimizer steps begin with.
struct Start {
    Noise noise;
    std::vector<float> weights, theta, other;  // other: ramp(dim - 1 - j)

    explicit Start(std::istream& line) {
        const Kind kind = kind_of(next<std::string>(line));
        const auto numbers = next<Numbers>(line);
        const auto count = next<std::size_t>(line);
        noise = numbers.noise(kind, rows_from(numbers.row, count));
        weights = ramps(count);
        theta = ramps(numbers.dim);
        other = reversed(theta);
    }
};

std::string sgd_step(std::istream& line) {
    const Start start(line);
    double lr, momentum, l2, weight_decay;
    SgdStep step{};
    line >> lr >> momentum >> step.nesterov >> l2 >> weight_decay;
    step.lr = narrowed(lr), step.momentum = narrowed(momentum), step.l2 = narrowed(l2);
    step.decay = narrowed(1.0 - lr * weight_decay);
    const auto buffer = momentum == 0.0 ? std::vector<float>{} : start.other;
    const SgdState end = start.noise.sgd_step(start.weights, {start.theta, buffer}, step);
    return as_text(joined(end.theta, end.momentum));
}

std::string adam_step(std::istream& line) {
    const Start start(line);
    double lr, beta1, beta2, power1, power2, eps, l2, weight_decay;
    line >> lr >> beta1 >> beta2 >> power1 >> power2 >> eps >> l2 >> weight_decay;
    AdamStep step{};
    step.step = narrowed(lr / (1.0 - power1)), step.v_scale = narrowed(1.0 / std::sqrt(1.0 - power2));
    step.beta1 = narrowed(beta1), step.one_minus_beta1 = narrowed(1.0 - beta1);
    step.beta2 = narrowed(beta2), step.one_minus_beta2 = narrowed(1.0 - beta2);
    step.epsilon = narrowed(eps), step.l2 = narrowed(l2), step.decay = narrowed(1.0 - lr * weight_decay);
    const AdamState end =
        start.noise.adam_step(start.weights, {start.theta, start.other, magnitudes(start.theta)}, step);
    return as_text(joined(end.theta, end.m, end.v));
}

std::string clipup_step(std::istream& line) {
    const Start start(line);
    ClipUpStep step{};
    double l2, weight_decay;
    line >> step.lr >> step.max_speed >> step.momentum >> l2 >> weight_decay;
    step.l2 = narrowed(l2), step.decay = narrowed(1.0 - step.lr * weight_decay);
    const ClipUpState end = start.noise.clipup_step(start.weights, {start.theta, start.other}, step);
    return as_text(joined(end.theta, end.velocity));
}

std::string snes_step(std::istream& line) {
    const Start start(line);
    double lr, lr_sigma;
    line >> lr >> lr_sigma;
    SnesStep step{};
    step.lr = narrowed(lr), step.half_lr_sigma = narrowed(lr_sigma / 2.0);
    const SnesState end = start.noise.snes_step(start.weights, {start.theta, magnitudes(start.other)}, step);
    return as_text(joined(end.theta, end.sigma));
}

// compute reads a line's inputs and leaves its results unread.
void check_file(const std::string& name, const std::function<std::string(std::istream&)>& compute) {
    std::ifstream file(FASTES_TESTDATA "/" + name);
    int lines = 0;
    for (std::string text; std::getline(file, text);) {
        if (text.empty() || text[0] == '#') continue;
        std::istringstream line(text);
        const std::string actual = compute(line), expected = rest_of(line);
        CHECK(!expected.empty() && actual == expected,
              name + " on " + (target.gpu ? "the simulated GPU" : kernels().name) + ", line: " + text.substr(0, 110));
        ++lines;
    }
    CHECK(lines >= 6, name + " holds too few lines or cannot be read");
}

void check_files() {
    const auto type = next<std::string>;
    const auto kind = [](std::istream& line) { return kind_of(next<std::string>(line)); };
    check_file("philox4x32.txt", philox);
    check_file("normal.txt", [](std::istream& line) { return normal(Kind::normal, line); });
    check_file("perturb.txt", [&](std::istream& line) { return perturb(type(line), Kind::normal, line); });
    check_file("weighted_sum.txt", [](std::istream& line) { return weighted_sum(Kind::normal, line); });
    check_file("kinds_normal.txt", [&](std::istream& line) { return normal(kind(line), line); });
    check_file("kinds_perturb.txt", [&](std::istream& line) {
        const auto output = type(line);
        return perturb(output, kind(line), line);
    });
    check_file("kinds_weighted_sum.txt", [&](std::istream& line) { return weighted_sum(kind(line), line); });
    check_file("low_rank_factors.txt", low_rank_factors);
    check_file("low_rank_perturb.txt", low_rank_perturb);
    check_file("low_rank_sum.txt", low_rank_sum);
    check_file("sgd_step.txt", sgd_step);
    check_file("adam_step.txt", adam_step);
    check_file("clipup_step.txt", clipup_step);
    check_file("snes_step.txt", snes_step);
    check_file("perturb_sigma.txt", [&](std::istream& line) {
        const auto output = type(line);
        return perturb(output, kind(line), line, true);
    });
    check_file("weighted_sums.txt", weighted_sums);
}

}  // namespace

void test_golden() {
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        check_files();
    }
    for (const bool aligned : {false, true}) {
        for (const std::uint32_t multiprocessors : {0u, 100u}) {  // 0: never more blocks than the elements give
            target = {device::Processor{multiprocessors}, aligned, aligned ? 2u : 1u};
            check_files();
        }
    }
    target = {};
}

}  // namespace fastes::tests
