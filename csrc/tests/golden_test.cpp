// csrc/testdata on every instruction set. The files' headers say what their columns are.
#include <fstream>
#include <functional>
#include <sstream>

#include "tests.hpp"

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

    Noise noise(std::vector<std::uint32_t> rows) const {
        return {{seed, stream, generation}, std::move(rows), offset, dim};
    }
};

std::istream& operator>>(std::istream& line, Numbers& n) {
    return line >> n.seed >> n.generation >> n.stream >> n.row >> n.offset >> n.dim;
}

std::string philox(std::istream& line) {
    int rounds = 0;
    std::uint32_t counter[4], key[2];
    line >> rounds >> std::hex;
    for (auto& word : counter) line >> word;
    for (auto& word : key) line >> word;
    std::vector<std::uint32_t> words(4);
    kernels().philox(counter, 1, key[0] | std::uint64_t{key[1]} << 32, rounds, words.data());
    return as_text(words);
}

std::string normal(std::istream& line) {
    Numbers numbers{};
    line >> numbers;
    return as_text(numbers.noise({numbers.row}).normal());
}

std::string perturb(std::istream& line) {
    std::string type;
    Numbers numbers{};
    std::size_t count = 0;
    std::uint32_t scale = 0;
    line >> type >> numbers >> count >> std::hex >> scale;
    std::vector<std::uint32_t> rows(count);
    std::vector<float> scales(count);
    for (std::size_t i = 0; i < count; ++i) {
        rows[i] = numbers.row + static_cast<std::uint32_t>(i / 2);
        scales[i] = i % 2 == 0 ? from_bits(scale) : -from_bits(scale);
    }
    const Noise noise = numbers.noise(rows);
    const auto theta = ramps(numbers.dim);
    if (type == "float32") return as_text(noise.perturb<float>(theta, scales, OutputType::float32));
    if (type == "float16") return as_text(noise.perturb<std::uint16_t>(theta, scales, OutputType::float16));
    return as_text(noise.perturb<std::uint16_t>(theta, scales, OutputType::bfloat16));
}

std::string weighted_sum(std::istream& line) {
    Numbers numbers{};
    std::size_t count = 0;
    line >> numbers >> count;
    return as_text(numbers.noise(rows_from(numbers.row, count)).weighted_sum(ramps(count)));
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
              name + " on " + kernels().name + ", line: " + text.substr(0, 110));
        ++lines;
    }
    CHECK(lines >= 6, name + " holds too few lines or cannot be read");
}

}  // namespace

void test_golden() {
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        check_file("philox4x32.txt", philox);
        check_file("normal.txt", normal);
        check_file("perturb.txt", perturb);
        check_file("weighted_sum.txt", weighted_sum);
    }
}

}  // namespace fastes::tests
