/// What the tests of the C++ layer need: claims that are counted, a folder that goes, and files in it.

#ifndef TREEWARDEN_TESTS_CHECK_HPP
#define TREEWARDEN_TESTS_CHECK_HPP

#include "treewarden.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>

namespace check {

namespace fs = std::filesystem;

/// Claims that did not hold, of all threads.
inline std::atomic<int> failures{0};

inline void fail(const char *file, int line, const std::string &what) {
    std::cerr << (std::string(file) + ":" + std::to_string(line) + ": " + what + "\n");
    ++failures;
}

/// A folder of its own, removed at the end.
class Folder {
public:
    Folder() {
        std::string name = (fs::temp_directory_path() / "treewarden-cpp-XXXXXX").native();
        if (mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("no temporary folder can be made: " + name);
        }
        path_ = name;
        fs::create_directory(tree());
    }
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }

    /// The directory that is scanned.
    fs::path tree() const { return path_ / "tree"; }
    /// The state file, beside it.
    fs::path state() const { return path_ / "state.tw"; }

    /// Writes a file of the tree, and the directories above it.
    void write(const fs::path &relative, std::string_view content) const {
        const fs::path path = tree() / relative;
        fs::create_directories(path.parent_path());
        std::ofstream file(path, std::ios::binary);
        file << content;
        if (!file.flush()) {
            throw std::runtime_error("cannot write " + path.native());
        }
    }
    void remove(const fs::path &relative) const { fs::remove_all(tree() / relative); }
    void move(const fs::path &from, const fs::path &to) const { fs::rename(tree() / from, tree() / to); }

private:
    fs::path path_;
};

/// Waits until something holds, for at most ten seconds.
template <class Condition>
bool soon(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
}

/// The Error that something throws, or none.
template <class Function>
std::optional<treewarden::Error> error_of(Function function) {
    try {
        function();
        return std::nullopt;
    } catch (const treewarden::Error &error) {
        return error;
    }
}

/// Runs tests, and gives what `main` returns.
template <class... Tests>
int run(Tests... tests) {
    const auto one = [](auto test) {
        try {
            test();
        } catch (const treewarden::Error &error) {
            fail("unexpected", static_cast<int>(error.code()), std::string(name(error.code())) + ": " + error.what());
        } catch (const std::exception &error) {
            fail("unexpected", 0, error.what());
        }
    };
    (one(tests), ...);
    if (failures != 0) {
        std::cerr << failures << " failed\n";
    }
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace check

/// Claims that something holds.
#define CHECK(...)                                         \
    do {                                                   \
        if (!(__VA_ARGS__)) {                              \
            check::fail(__FILE__, __LINE__, #__VA_ARGS__); \
        }                                                  \
    } while (false)

/// Claims that something throws an Error with this code.
#define CHECK_ERROR(expected, ...)                                                                     \
    do {                                                                                               \
        const auto thrown = check::error_of([&] { static_cast<void>(__VA_ARGS__); });                  \
        if (!thrown || thrown->code() != (expected)) {                                                 \
            check::fail(__FILE__, __LINE__,                                                            \
                        thrown ? #__VA_ARGS__ + std::string(" threw ") + name(thrown->code())          \
                               : #__VA_ARGS__ + std::string(" threw nothing"));                        \
        }                                                                                              \
    } while (false)

#endif  // TREEWARDEN_TESTS_CHECK_HPP
