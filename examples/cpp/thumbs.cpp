/// Keeps a thumbnail of each text file of a directory in a side folder: its lines, words and bytes, and a picture of
/// its line lengths. `notes/a.txt` has `notes/a.txt.thumb`; what is deleted loses it.
///
///     c++ -std=c++17 thumbs.cpp $(pkg-config --cflags --libs treewarden) -pthread -o thumbs
///     ./thumbs DIR FOLDER           goes on until Ctrl-C
///     ./thumbs --once DIR FOLDER    makes what is missing, removes what is no longer needed, and ends
///
/// It shows a pipeline with workers. What it makes lies under the path of the file, so the pipeline goes by path: a
/// move is a thumbnail that goes and another one that comes. Thumbnails appear whole or not at all. A file that is no
/// text is a permanent failure; one that cannot be read is tried again. Killed at any moment it goes on where it was.

#include <treewarden.hpp>

#include <csignal>
#include <fstream>
#include <iostream>
#include <sstream>

namespace fs = std::filesystem;
namespace tw = treewarden;

namespace {

constexpr std::string_view root = "tree";
constexpr std::size_t bars = 40, threads = 4;

/// What a thumbnail says about a text.
std::string shrink(const fs::path &path) {
    std::ifstream file(path, std::ios::binary);
    std::size_t words = 0;
    std::uintmax_t bytes = 0;
    std::vector<std::size_t> lengths;
    for (std::string line; std::getline(file, line);) {
        if (line.find('\0') != std::string::npos) {
            throw tw::Permanent("it is no text");
        }
        bytes += line.size() + (file.eof() ? 0 : 1);
        lengths.push_back(line.size());
        std::istringstream text(line);
        for (std::string word; text >> word;) {
            ++words;
        }
    }
    if (!file.eof()) {
        throw std::runtime_error("it cannot be read");
    }
    std::ostringstream thumb;
    thumb << lengths.size() << " lines, " << words << " words, " << bytes << " bytes\n";
    // Each bar stands for as many lines as the others.
    for (std::size_t bar = 0; bar < std::min(bars, lengths.size()); ++bar) {
        const auto length = lengths[bar * lengths.size() / std::min(bars, lengths.size())];
        thumb << std::string(std::min<std::size_t>(length, 100), '#') << '\n';
    }
    return thumb.str();
}

/// The side folder. Its functions may be called in any thread.
class Thumbs {
public:
    explicit Thumbs(fs::path folder) : folder_(std::move(folder)) { fs::create_directories(folder_ / ".parts"); }

    /// Does one job; what it throws is how the job ends.
    void work(const tw::JobView &job) const {
        fs::path thumb = folder_ / job.path().substr(root.size() + 1);
        thumb += ".thumb";
        if (job.is_gone() || fs::is_symlink(job.fs_path())) {
            return remove(thumb);
        }
        try {
            put(shrink(job.fs_path()), thumb, job.token());
        } catch (const tw::Permanent &) {
            remove(thumb);  // of what the file was before
            throw;
        }
    }

private:
    void put(const std::string &text, const fs::path &thumb, std::uint64_t token) const {
        const fs::path part = folder_ / ".parts" / std::to_string(token);  // no two jobs have the same
        std::ofstream file(part, std::ios::binary);
        if (!(file << text).flush()) {
            throw std::runtime_error("the thumbnail cannot be written");
        }
        fs::create_directories(thumb.parent_path());
        // Where another thread has just removed the empty folder, the job fails and is tried again.
        fs::rename(part, thumb);
    }

    void remove(const fs::path &thumb) const {
        fs::remove(thumb);
        std::error_code is_not_empty;
        for (fs::path dir = thumb.parent_path(); dir != folder_ && fs::remove(dir, is_not_empty);) {
            dir = dir.parent_path();
        }
    }

    fs::path folder_;
};

int run(const fs::path &dir, const fs::path &folder, bool is_once, const sigset_t &signals) {
    const Thumbs thumbs(folder);
    const tw::Warden warden(folder / ".thumbs.tw");
    if (warden.roots().empty()) {
        // The folder may lie in the directory: what is made is not looked at.
        warden.add_root(root, dir, tw::RootOptions().ignore_junk().ignore("*.thumb"));
    }
    const tw::Pipeline pipeline = warden.pipeline("thumbs", tw::PipelineOptions().root(root).group_depth(1000));
    tw::Workers workers = pipeline.work(threads, [&](tw::WorkerJob &job) { thumbs.work(job); });
    if (is_once) {
        warden.scan(root);
        pipeline.wait_idle();
    } else {
        warden.watch();
        int signal = 0;
        sigwait(&signals, &signal);
    }
    workers.stop();
    const auto failed = pipeline.list({}, tw::WorkState::Error);
    for (const tw::WorkItem &item : failed) {
        std::cerr << tw::escape(item.path) << ": " << pipeline.explain(item.path).last_error.value_or("") << '\n';
    }
    std::cout << workers.counts().done << " done, " << failed.size() << " without a thumbnail\n";
    return failed.empty() ? 0 : 3;
}

}  // namespace

int main(int argc, char **argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const bool is_once = !arguments.empty() && arguments[0] == "--once";
    if (arguments.size() != (is_once ? 3U : 2U)) {
        std::cerr << "usage: thumbs [--once] DIR FOLDER\n";
        return 2;
    }
    // Before any thread is started: all of them leave the signals to sigwait.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (!is_once) {
        pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    }
    try {
        return run(arguments[is_once ? 1 : 0], arguments[is_once ? 2 : 1], is_once, signals);
    } catch (const std::exception &error) {
        std::cerr << "thumbs: " << error.what() << '\n';
        return 1;
    }
}
