/// Mirrors: runs, plans, URLs, audits and what follows by itself, to a directory. Beside them metrics and exports.

#include "check.hpp"

#include <sstream>

namespace tw = treewarden;
using check::Folder;
using tw::Code;
using Deletes = tw::Mirror::Deletes;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view base = "https://cdn.example";

/// A root with two files, scanned, and an empty directory for its copy.
struct Scanned {
    Folder folder;
    Folder remote;
    tw::Warden warden;

    Scanned() : warden(folder.state()) {
        folder.write("a.txt", "one");
        folder.write("sub/b.txt", "three");
        warden.add_root("tree", folder.tree());
        warden.scan();
    }

    tw::MirrorOptions options() const {
        return tw::MirrorOptions("tree", "file://" + remote.tree().native()).public_url(base).settle(0ms);
    }

    /// What the copy holds under a key; nothing where there is none.
    std::optional<std::string> copy(const std::string &key) const {
        std::ifstream file(remote.tree() / key, std::ios::binary);
        if (!file) {
            return std::nullopt;
        }
        std::ostringstream text;
        text << file.rdbuf();
        return text.str();
    }
};

void a_run_does_what_its_plan_says() {
    const Scanned scanned;
    const tw::Mirror mirror = scanned.warden.mirror("cdn", scanned.options());
    const tw::MirrorPlan plan = mirror.plan();
    CHECK(plan.uploads == 2 && plan.upload_bytes == 8 && plan.steps.size() == 2 && !plan.is_held);
    CHECK(plan.steps.at(0).kind == tw::MirrorStepKind::Upload && plan.steps.at(0).path == "tree/a.txt");
    CHECK(plan.steps.at(1).key == "sub/b.txt" && plan.steps.at(1).bytes == 5 && plan.first_refused.empty());

    std::uint64_t done = 0;
    const tw::MirrorReport report =
        mirror.sync(Deletes::Hold, [&](const tw::MirrorProgress &progress) { done = progress.done; });
    CHECK(report.uploaded == 2 && report.uploaded_bytes == 8 && report.is_complete && report.first_errors.empty());
    CHECK(done == 2 && report.seq == scanned.warden.seq());
    CHECK(scanned.copy("a.txt") == "one" && scanned.copy("sub/b.txt") == "three");

    const tw::MirrorReport again = mirror.sync();
    CHECK(again.uploaded == 0 && again.deleted == 0 && again.is_complete && mirror.plan().steps.empty());

    scanned.folder.write("a.txt", "changed");
    scanned.folder.remove("sub");
    scanned.warden.scan();
    const tw::MirrorReport next = mirror.sync(Deletes::Hold, tw::CancelToken());
    CHECK(next.uploaded == 1 && next.deleted == 1 && scanned.copy("a.txt") == "changed");
    CHECK(!scanned.copy("sub/b.txt"));
}

void what_a_lambda_throws_ends_the_run() {
    const Scanned scanned;
    const tw::Mirror mirror = scanned.warden.mirror("cdn", scanned.options());
    bool is_thrown = false;
    try {
        mirror.sync(Deletes::Hold, [](const tw::MirrorProgress &) { throw std::out_of_range("enough"); });
    } catch (const std::out_of_range &) {
        is_thrown = true;
    }
    CHECK(is_thrown);
    const tw::CancelToken cancel;
    cancel.cancel();
    scanned.folder.write("new.txt", "new");
    scanned.warden.scan();
    CHECK_ERROR(Code::Cancelled, mirror.sync(Deletes::Hold, cancel));
    CHECK(mirror.sync().is_complete && scanned.copy("new.txt") == "new");
}

void deletions_wait_for_a_word() {
    const Scanned scanned;
    const tw::Mirror mirror = scanned.warden.mirror("cdn", scanned.options().delete_max(0));
    CHECK(mirror.sync().uploaded == 2);
    scanned.folder.remove("a.txt");
    scanned.warden.scan();
    CHECK(mirror.plan().is_held && mirror.plan().deletes == 1);
    const tw::MirrorReport held = mirror.sync();
    CHECK(held.held == 1 && held.deleted == 0 && !held.is_complete && mirror.status().held == 1);
    CHECK(mirror.sync(Deletes::Accept).deleted == 1 && !scanned.copy("a.txt"));
}

void urls_lead_there_and_back() {
    const Scanned scanned;
    const tw::Mirror mirror = scanned.warden.mirror("cdn", scanned.options().prefix("p"));
    const tw::UrlMap before = mirror.urls();
    CHECK(before.size() == 0 && before.all().empty() && !mirror.url("tree/a.txt"));
    mirror.sync();
    const std::string url = std::string(base) + "/p/a.txt";
    CHECK(mirror.url("tree/a.txt") == url && mirror.path(url) == "tree/a.txt" && !mirror.path("https://other"));
    const tw::UrlMap after = mirror.urls();
    CHECK(after.size() == 2 && after.all().at(0) == std::make_pair(std::string("tree/a.txt"), url));
    CHECK(after.url("tree/a.txt") == url && after.path(url) == "tree/a.txt" && !before.url("tree/a.txt"));
    const std::vector<tw::UrlChange> changes = after.diff(before);
    CHECK(changes.size() == 2 && changes.at(0).kind == tw::UrlChangeKind::Added && changes.at(0).url == url);
    CHECK(before.diff(after).at(0).kind == tw::UrlChangeKind::Removed && after.diff(after).empty());
}

void an_audit_finds_and_mends() {
    const Scanned scanned;
    const tw::Mirror mirror = scanned.warden.mirror("cdn", scanned.options());
    mirror.sync();
    CHECK(mirror.audit().is_clean && mirror.audit().matched == 2);
    check::fs::remove(scanned.remote.tree() / "a.txt");
    const tw::AuditReport report = mirror.audit(true);
    CHECK(report.lost == 1 && !report.is_clean && report.findings.size() == 1);
    CHECK(report.findings.at(0).kind == tw::AuditKind::Lost && report.findings.at(0).key == "a.txt");
    mirror.sync();
    CHECK(scanned.copy("a.txt") == "one" && mirror.audit().is_clean);
}

void a_mirror_follows_by_itself() {
    const Scanned scanned;
    const tw::Mirror mirror = scanned.warden.mirror("cdn", scanned.options());
    {
        tw::Following following = mirror.follow();
        CHECK(mirror.status().is_following);
        CHECK_ERROR(Code::Busy, mirror.follow());
        CHECK(check::soon([&] { return scanned.copy("a.txt") == "one"; }));
        scanned.folder.write("later.txt", "later");
        scanned.warden.scan();
        CHECK(check::soon([&] { return scanned.copy("later.txt") == "later"; }));
        following.stop();
        following.stop();
    }
    CHECK(!mirror.status().is_following && mirror.status().runs > 0);
}

void mirrors_are_kept_and_forgotten() {
    const Scanned scanned;
    const tw::Warden &warden = scanned.warden;
    const tw::Mirror first = warden.mirror("cdn", scanned.options());
    first.sync();
    // As it was made.
    const tw::Mirror second = warden.mirror("cdn");
    CHECK_ERROR(Code::Closed, first.sync());
    CHECK(second.sync().uploaded == 0 && second.url("tree/a.txt"));
    const std::vector<tw::MirrorInfo> mirrors = warden.mirrors();
    CHECK(mirrors.size() == 1 && mirrors.at(0).name == "cdn" && mirrors.at(0).address == "tree");
    CHECK(mirrors.at(0).public_url == base && !mirrors.at(0).endpoint && mirrors.at(0).target);
    CHECK(warden.mirror_status().size() == 1 && warden.mirror_status().at(0).objects == 2);
    CHECK_ERROR(Code::InvalidArgument, warden.mirror("cdn", tw::MirrorOptions().uploads_max(3)));
    CHECK_ERROR(Code::InvalidArgument, warden.mirror("cdn", scanned.options().prefix("elsewhere")));
    CHECK_ERROR(Code::InvalidArgument, warden.mirror("cdn", scanned.options().keys("id", "hush")));
    warden.remove_mirror("cdn");
    CHECK(warden.mirrors().empty() && scanned.copy("a.txt") == "one");
    CHECK_ERROR(Code::NotFound, warden.mirror("cdn"));
    CHECK_ERROR(Code::NotFound, warden.remove_mirror("cdn"));
}

void options_are_read_back() {
    const Scanned scanned;
    const auto options = tw::MirrorOptions("tree", "s3://bucket/p").anonymous().glob("*.b").glob("*.a")
                             .cache_control("no-store").content_type("jxl", "image/jxl").uploads_max(3)
                             .part_bytes(6 << 20).memory_bytes(7 << 20).bandwidth_bytes_per_s(1000).attempts_max(4)
                             .backoff(50ms, 5s).delete_max(8).delete_share_percent(9).settle(10ms).purge_new();
    scanned.warden.mirror("all", options);
    scanned.warden.mirror("cdn", scanned.options());
    const std::vector<tw::MirrorInfo> mirrors = scanned.warden.mirrors();
    const tw::MirrorInfo &all = mirrors.at(0), &usual = mirrors.at(1);
    CHECK(all.name == "all" && all.target == "s3://bucket" && all.prefix == "p" && all.cache_control == "no-store");
    CHECK(all.globs == std::vector<std::string>{"*.a", "*.b"} && all.content_types.size() == 1);
    CHECK(all.content_types.at(0) == std::make_pair(std::string("jxl"), std::string("image/jxl")));
    CHECK(all.uploads_max == 3 && all.part_bytes == 6 << 20 && all.memory_bytes == 7 << 20);
    CHECK(all.bandwidth_bytes_per_s == 1000 && all.attempts_max == 4 && all.backoff == 50ms);
    CHECK(all.backoff_max == 5s && all.delete_max == 8 && all.delete_share_percent == 9 && all.settle == 10ms);
    CHECK(all.purge_new && usual.prefix.empty() && usual.globs.empty() && usual.content_types.empty());
    CHECK(!usual.cache_control && !usual.bandwidth_bytes_per_s && usual.uploads_max == 10 && usual.settle == 0ms);
    CHECK(usual.delete_max == 10'000 && !usual.purge_new && usual.attempts_max == 5 && usual.backoff_max == 20s);
}

void numbers_and_files_for_others() {
    const Scanned scanned;
    const tw::Mirror mirror = scanned.warden.mirror("cdn", scanned.options());
    mirror.sync();
    const tw::Metrics metrics = scanned.warden.metrics();
    CHECK(metrics.files == 2 && metrics.roots == 1 && metrics.mirrors == 1 && metrics.objects == 2);
    CHECK(metrics.seq == scanned.warden.seq() && !metrics.is_watching && metrics.object_bytes == 8);
    CHECK(scanned.warden.prometheus().find("treewarden_root_files{root=\"tree\"} 2\n") != std::string::npos);

    const check::fs::path file = scanned.remote.tree() / "all.parquet";
    const tw::Snapshot snapshot = scanned.warden.snapshot();
    const tw::ExportReport report = snapshot.to_parquet(file);
    CHECK(report.rows == 2 && report.files == 1 && report.bytes == check::fs::file_size(file));
    CHECK_ERROR(Code::AlreadyExists, snapshot.to_parquet(file));
    CHECK(snapshot.to_parquet(file, tw::ExportOptions().replace(), tw::Filter().under("tree/sub")).rows == 1);
    const auto options = tw::ExportOptions().partitioned().host("nas").token(scanned.warden.token());
    CHECK(scanned.warden.changes(0).files_only().to_parquet(scanned.remote.tree() / "lake", options).rows == 2);
    CHECK(check::fs::exists(scanned.remote.tree() / "lake" / "host=nas" / "root=tree"));
}

}  // namespace

int main() {
    return check::run(a_run_does_what_its_plan_says, what_a_lambda_throws_ends_the_run, deletions_wait_for_a_word,
                      urls_lead_there_and_back, an_audit_finds_and_mends, a_mirror_follows_by_itself,
                      mirrors_are_kept_and_forgotten, options_are_read_back, numbers_and_files_for_others);
}
