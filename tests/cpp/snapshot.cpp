/// Roots, scans, snapshots: what is known of the trees, and how it is looked at.

#include "check.hpp"

#include <set>

namespace tw = treewarden;
using check::Folder;
using tw::Code;

namespace {

std::vector<std::string> paths(tw::Entries entries) {
    std::vector<std::string> paths;
    for (const tw::EntryView &entry : entries) {
        paths.emplace_back(entry.path);
    }
    return paths;
}

void a_scan_reports_and_a_snapshot_shows() {
    const Folder folder;
    folder.write("a.txt", "one");
    folder.write("sub/b.txt", "three");
    check::fs::create_symlink("a.txt", folder.tree() / "link");

    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree(), tw::RootOptions().content_hash(tw::ContentHash::Changed));
    const tw::Report report = warden.scan("tree");
    CHECK(report.root == "tree" && report.added == 3 && report.dirs >= 1 && report.is_clean && report.is_published);
    CHECK(!report.held && !report.unavailable && report.first_errors.empty());

    const tw::Snapshot snapshot = warden.snapshot();
    CHECK(snapshot.size() == 3 && snapshot.seq() == report.seq && snapshot.seq() == warden.seq());
    CHECK(snapshot.roots() == std::vector<std::string>{"tree"});
    CHECK(snapshot.contains("tree/a.txt") && !snapshot.contains("tree/none"));

    const auto entry = snapshot.get(std::string("tree/") + "sub/b.txt");
    CHECK(entry && entry->path == "tree/sub/b.txt" && entry->size == 5 && entry->kind == tw::Kind::File);
    CHECK(entry && entry->hash && tw::hex(*entry->hash).size() == 32 && entry->inode != 0 && entry->id != 0);
    const auto now = std::chrono::system_clock::now();
    CHECK(entry && entry->mtime <= now && entry->mtime > now - std::chrono::hours(1));
    const auto link = snapshot.get("tree/link");
    CHECK(link && link->kind == tw::Kind::Symlink && link->target == "a.txt");
    CHECK(!snapshot.get("tree/none") && !snapshot.get_missing("tree/a.txt"));

    const auto totals = snapshot.du();
    CHECK(totals && totals->files == 3 && totals->dirs >= 1);
    const auto below = snapshot.du("tree/sub");
    CHECK(below && below->files == 1 && below->dirs == 0 && below->bytes == 5);
    CHECK(!snapshot.du("tree/none"));
}

void filters_let_through_what_they_say() {
    const Folder folder;
    folder.write("a.txt", "1");
    folder.write("b.bin", "22");
    folder.write("sub/c.txt", "333");
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    warden.scan();
    const tw::Snapshot snapshot = warden.snapshot();
    using Paths = std::vector<std::string>;

    CHECK(paths(snapshot.entries()) == Paths{"tree/a.txt", "tree/b.bin", "tree/sub/c.txt"});
    CHECK(paths(snapshot.entries(tw::Filter().glob("**/*.txt"))) == Paths{"tree/a.txt", "tree/sub/c.txt"});
    CHECK(paths(snapshot.entries(tw::Filter().under("tree/sub"))) == Paths{"tree/sub/c.txt"});
    CHECK(paths(snapshot.entries(tw::Filter().size_min(2).size_max(2))) == Paths{"tree/b.bin"});
    CHECK(paths(snapshot.entries(tw::Filter().size_max(std::numeric_limits<std::uint64_t>::max()))).size() == 3);
    CHECK(paths(snapshot.entries(tw::Filter().kind(tw::Kind::Dir))) == Paths{"tree/sub"});
    CHECK(paths(snapshot.entries(tw::Filter().with_dirs())).size() == 4);
    CHECK(paths(snapshot.entries(tw::Filter().mtime_min(tw::Time::max()))).empty());
    CHECK(paths(snapshot.entries(tw::Filter().direct())) == Paths{"tree"});
    CHECK(paths(snapshot.entries(tw::Filter().direct().under("tree").kind(tw::Kind::Dir))) == Paths{"tree/sub"});

    // A filter is a value: copied, kept, and used again.
    const tw::Filter txt = tw::Filter().under("tree").glob("*.txt");
    const tw::Filter below = tw::Filter(txt).under("tree/sub");
    CHECK(paths(snapshot.entries(txt)) == Paths{"tree/a.txt"} && paths(snapshot.entries(txt)).size() == 1);
    CHECK(paths(snapshot.entries(below)) == Paths{"tree/sub/c.txt"});
}

void a_range_of_many_entries_is_gone_through_once() {
    const Folder folder;
    for (int index = 0; index < 1000; ++index) {
        folder.write("f" + std::to_string(index), "x");
    }
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    warden.scan();

    std::set<std::string> seen;
    tw::Entries entries = warden.snapshot().entries();
    for (const tw::EntryView &entry : entries) {
        seen.emplace(entry.path);
        if (seen.size() == 300) {
            break;
        }
    }
    // Moved half-way, it goes on where it was: at the row that it stopped at.
    tw::Entries rest = std::move(entries);
    for (const tw::EntryView &entry : rest) {
        seen.emplace(entry.path);
    }
    CHECK(seen.size() == 1000);
    CHECK(rest.begin() == rest.end());
    CHECK(warden.snapshot().entries().all().size() == 1000);

    tw::ArrowStream stream = warden.snapshot().arrow();
    ArrowArray array{};
    CHECK(stream.get()->get_next(stream.get(), &array) == 0 && array.length == 1000);
    array.release(&array);
    const tw::ArrowStream moved = std::move(stream);
    CHECK(stream.get()->release == nullptr);
}

void a_name_may_be_any_bytes() {
    const Folder folder;
    const std::string name = "caf\xe9 \xff";
    folder.write(name, "x");
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    warden.scan();
    CHECK(warden.snapshot().contains("tree/" + name));
    CHECK(paths(warden.snapshot().entries()) == std::vector<std::string>{"tree/" + name});
    CHECK(tw::escape("a\n" + name) == R"(a\ncaf\xe9 \xff)" && tw::escape("").empty());
}

void a_diff_tells_what_lies_between_two_snapshots() {
    const Folder folder;
    folder.write("moved", "a file that moves");
    folder.write("gone", "a file that goes");
    folder.write("changed", "before");
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    warden.scan();
    const tw::Snapshot older = warden.snapshot();
    folder.move("moved", "there");
    folder.remove("gone");
    folder.write("changed", "and after");
    folder.write("new", "x");
    const tw::Report report = warden.scan("tree");
    CHECK(report.moved == 1 && report.missing == 1 && report.modified == 1 && report.added == 1);

    const tw::Snapshot newer = warden.snapshot();
    std::map<std::string, tw::Change> by_path;
    for (const tw::Change &change : newer.diff(older).files_only().all()) {
        by_path.emplace(change.path, change);
    }
    CHECK(by_path.size() == 4);
    CHECK(by_path.at("tree/there").kind == tw::ChangeKind::Moved && by_path.at("tree/there").from == "tree/moved");
    CHECK(by_path.at("tree/gone").kind == tw::ChangeKind::Missing && !by_path.at("tree/gone").from);
    CHECK(by_path.at("tree/changed").kind == tw::ChangeKind::Modified);
    CHECK(by_path.at("tree/new").kind == tw::ChangeKind::Added && by_path.at("tree/new").root == "tree");
    CHECK(older.contains("tree/gone") && !newer.contains("tree/gone"));
    const auto tombstone = newer.get_missing("tree/gone");
    CHECK(tombstone && tombstone->missing_since);
    CHECK(paths(newer.entries(tw::Filter().missing())) == std::vector<std::string>{"tree/gone"});
}

void roots_are_told_and_changed() {
    const Folder folder;
    folder.write("keep", "x");
    folder.write("part.tmp", "x");
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree(), tw::RootOptions().ignore("*.tmp").ignore("*.part"));
    warden.scan();
    const auto roots = warden.roots();
    CHECK(roots.size() == 1 && roots[0].name == "tree" && roots[0].path == check::fs::canonical(folder.tree()));
    CHECK(roots.at(0).ignore == std::vector<std::string>{"*.tmp", "*.part"});
    CHECK(roots.at(0).state == tw::RootState::Ready && roots.at(0).totals.files == 1 && !roots.at(0).live);

    warden.set_root_options("tree", tw::RootOptions());
    CHECK(warden.scan("tree").added == 1 && warden.roots().at(0).ignore.empty());
    const check::fs::path elsewhere = folder.tree().parent_path() / "elsewhere";
    check::fs::rename(folder.tree(), elsewhere);
    CHECK(warden.scan("tree").unavailable);
    CHECK(warden.roots().at(0).state == tw::RootState::Unavailable && warden.roots().at(0).reason);
    warden.move_root("tree", elsewhere);
    CHECK(warden.scan("tree").is_clean && warden.snapshot().size() == 2);
    warden.remove_root("tree");
    CHECK(warden.roots().empty() && warden.snapshot().size() == 0);
}

void too_much_that_goes_is_held() {
    const Folder folder;
    for (int index = 0; index < 300; ++index) {
        folder.write("sub/f" + std::to_string(index), "x");
    }
    folder.write("stays", "x");
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree());
    warden.scan();
    folder.remove("sub");
    const tw::Report held = warden.scan("tree");
    CHECK(held.held && held.held->missing == 300 && held.held->of == 301 && !held.is_clean);
    CHECK(warden.snapshot().size() == 301);
    const auto accepted = warden.scan(tw::ScanOptions().target("tree").accept_missing());
    CHECK(accepted.at(0).missing == 300 && warden.snapshot().size() == 1);
}

void status_history_explanations_and_upkeep() {
    const Folder folder;
    folder.write("a", "content");
    const tw::Warden warden(folder.state());
    warden.add_root("tree", folder.tree(), tw::RootOptions().content_hash(tw::ContentHash::Changed).ignore("*.o"));
    warden.scan();
    warden.set_attrs("tree/a", {{"rating", "5 of 5"}});

    const tw::Status status = warden.status();
    CHECK(status.database_id.size() == 32 && status.format_version >= 1 && status.totals.files == 1);
    CHECK(status.roots == 1 && status.seq == warden.seq() && status.file_bytes > 0 && !status.is_watching);
    CHECK(status.durability == tw::Durability::Durable);

    const auto history = warden.history(10);
    CHECK(!history.empty() && history.back().root == "tree" && history.back().added == 1);
    CHECK(!history.empty() && history.back().status == tw::OperationStatus::Ok && !history.back().error);
    tw::ArrowStream table = warden.history_arrow();
    ArrowSchema schema{};
    CHECK(table.get()->get_schema(table.get(), &schema) == 0 && schema.n_children > 0);
    schema.release(&schema);

    const tw::Explanation current = warden.explain("tree/a");
    CHECK(current.verdict == "current" && current.has_entry && current.disk && current.disk->size == 7);
    CHECK(current.known && current.known->size == 7 && current.known->hash && !current.reasons.empty());
    CHECK(current.attrs == std::map<std::string, std::uint64_t>{{"rating", 6}});
    CHECK(current.root && current.root->name == "tree");
    const tw::Explanation ignored = warden.explain("tree/x.o");
    CHECK(!ignored.has_entry && !ignored.disk && !ignored.known);

    CHECK(warden.verify().differences_total == 0);
    folder.write("a", "another content");
    const tw::VerifyReport verified = warden.verify(tw::VerifyOptions().root("tree").content());
    CHECK(verified.checked == 1 && verified.differences.size() == 1);
    CHECK(verified.differences.at(0).path == "tree/a");
    CHECK(verified.differences.at(0).what == tw::DifferenceKind::Changed);

    warden.check();
    const auto sizes = warden.compact();
    CHECK(sizes.after > 0 && sizes.after <= sizes.before);
    CHECK(warden.maintain() == 0);
    CHECK(tw::version().size() >= 5);
}

void what_is_read_only_writes_nothing_and_a_rebuild_saves() {
    const Folder folder;
    folder.write("a", "x");
    {
        tw::Warden warden(folder.state());
        warden.add_root("tree", folder.tree());
        warden.scan();
        warden.close();
    }
    {
        const tw::Warden reader(folder.state(), tw::OpenOptions().read_only());
        const tw::Warden another(folder.state(), tw::OpenOptions().read_only());
        CHECK(reader.snapshot().size() == 1 && another.snapshot().size() == 1);
        CHECK_ERROR(Code::ReadOnly, reader.space("settings").put("theme", "dark"));
    }
    const tw::RebuildReport report = tw::rebuild(folder.state());
    CHECK(report.entries == 1 && report.roots == 1 && report.lost_rows == 0 && check::fs::exists(report.kept_as));
    const tw::Warden again(folder.state(), tw::OpenOptions().must_exist());
    CHECK(again.snapshot().size() == 1);
}

void a_manual_clock_stands_still() {
    const Folder folder;
    folder.write("a", "x");
    folder.write("b", "x");
    const auto start = tw::Time(std::chrono::hours(24 * 365 * 40));
    const auto options = tw::OpenOptions().manual_clock(start).tombstone_keep(std::chrono::hours(1));
    const tw::Warden warden(folder.state(), options);
    warden.add_root("tree", folder.tree());
    warden.scan();
    CHECK(warden.history().back().end == start);
    folder.remove("b");
    warden.scan();
    CHECK(warden.snapshot().get_missing("tree/b")->missing_since == start);
    warden.clock_advance(std::chrono::minutes(61));
    CHECK(warden.maintain() == 1 && !warden.snapshot().get_missing("tree/b"));
    warden.clock_set(start);
    CHECK_ERROR(Code::InvalidArgument, warden.clock_advance(std::chrono::seconds(-1)));
}

}  // namespace

int main() {
    return check::run(a_scan_reports_and_a_snapshot_shows, filters_let_through_what_they_say,
                      a_range_of_many_entries_is_gone_through_once, a_name_may_be_any_bytes,
                      a_diff_tells_what_lies_between_two_snapshots, roots_are_told_and_changed,
                      too_much_that_goes_is_held, status_history_explanations_and_upkeep,
                      what_is_read_only_writes_nothing_and_a_rebuild_saves, a_manual_clock_stands_still);
}
