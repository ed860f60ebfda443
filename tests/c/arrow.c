/*
 * Proves tables by the Arrow C stream interface, read by hand as its specification says: schemas, several batches,
 * values, nulls, dictionaries; that a stream, its schema and each batch are released one by one and need no handle any
 * more; that what was not read may be released as well; and what happens to what a table is made of.
 */

#include "check.h"

#include <fcntl.h>

#define BATCH_ROWS 65536

/* More than one batch, where the program does not run in slow motion. */
static int files = BATCH_ROWS + 500;

static int is_null(const struct ArrowArray *array, int64_t row) {
    const uint8_t *valid = array->buffers[0];
    int64_t bit = row + array->offset;
    return valid != NULL && (valid[bit / 8] >> (bit % 8) & 1) == 0;
}

static int is_set(const struct ArrowArray *array, int64_t row) {
    const uint8_t *bits = array->buffers[1];
    int64_t bit = row + array->offset;
    return bits[bit / 8] >> (bit % 8) & 1;
}

static tw_bytes bytes_at(const struct ArrowArray *array, int64_t row) {
    const int32_t *offsets = array->buffers[1];
    const uint8_t *data = array->buffers[2];
    int64_t at = row + array->offset;
    return bytes_of(data + offsets[at], (size_t)(offsets[at + 1] - offsets[at]));
}

static uint64_t u64_at(const struct ArrowArray *array, int64_t row) {
    return ((const uint64_t *)array->buffers[1])[row + array->offset];
}

/* The word of a dictionary with keys of 8 or 32 bits. */
static tw_bytes word_at(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t row) {
    int64_t at = row + array->offset;
    CHECK(array->dictionary != NULL && schema->dictionary != NULL);
    CHECK(strcmp(schema->dictionary->format, "u") == 0);
    int64_t key = schema->format[0] == 'c' ? ((const int8_t *)array->buffers[1])[at]
                                           : ((const int32_t *)array->buffers[1])[at];
    CHECK(key >= 0 && key < array->dictionary->length);
    return bytes_at(array->dictionary, key);
}

/* `columns` are NAME:FORMAT, with a `?` behind those that may be null; dictionaries have the format of their keys. */
static void check_schema(const struct ArrowSchema *schema, const char *const *columns) {
    int64_t count = 0;
    CHECK(strcmp(schema->format, "+s") == 0);
    for (; columns[count] != NULL; ++count) {
        CHECK(count < schema->n_children);
        const struct ArrowSchema *child = schema->children[count];
        char told[100];
        snprintf(told, sizeof told, "%s:%s%s", child->name, child->format,
                 (child->flags & ARROW_FLAG_NULLABLE) != 0 ? "?" : "");
        if (strcmp(told, columns[count]) != 0) {
            fprintf(stderr, "column %d is %s, not %s\n", (int)count, told, columns[count]);
        }
        CHECK(strcmp(told, columns[count]) == 0);
    }
    CHECK_EQ(schema->n_children, count);
}

static int64_t column(const struct ArrowSchema *schema, const char *name) {
    for (int64_t i = 0; i < schema->n_children; ++i) {
        if (strcmp(schema->children[i]->name, name) == 0) {
            return i;
        }
    }
    CHECK(!"there is such a column");
    return -1;
}

static void get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *schema) {
    memset(schema, 0xa5, sizeof *schema);
    CHECK_EQ(stream->get_schema(stream, schema), 0);
    CHECK(schema->release != NULL);
}

/* The next batch; 0 at the end. */
static int get_next(struct ArrowArrayStream *stream, const struct ArrowSchema *schema, struct ArrowArray *batch) {
    memset(batch, 0xa5, sizeof *batch);
    CHECK_EQ(stream->get_next(stream, batch), 0);
    if (batch->release == NULL) {
        return 0;
    }
    CHECK(batch->length > 0 && batch->length <= BATCH_ROWS && batch->n_children == schema->n_children);
    for (int64_t i = 0; i < batch->n_children; ++i) {
        CHECK_EQ(batch->children[i]->length, batch->length);
    }
    return 1;
}

static void release(struct ArrowArrayStream *stream, struct ArrowSchema *schema) {
    if (schema != NULL) {
        schema->release(schema);
        CHECK(schema->release == NULL);
    }
    stream->release(stream);
    CHECK(stream->release == NULL);
}

static void entries(tw_warden *warden) {
    static const char *const columns[] = {"root:i", "path:u", "path_bytes:z?", "kind:c", "size:L", "mtime:tsn:UTC",
                                          "ctime:tsn:UTC", "btime:tsn:UTC?", "inode:L", "mode:I", "hash:u?",
                                          "target:u?", "id:L", "seq:L", "missing_since:tsn:UTC?", NULL};
    tw_snapshot *snapshot = NULL, *other = NULL;
    tw_iter *iter = NULL;
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray batch;
    OK(tw_warden_snapshot(warden, &snapshot, &err));
    OK(tw_snapshot_iter(snapshot, NULL, &iter, &err));
    OK(tw_snapshot_arrow(snapshot, NULL, &stream, &err));
    OK(tw_snapshot_free(snapshot, &err));
    OK(tw_warden_snapshot(warden, &other, &err));
    get_schema(&stream, &schema);
    check_schema(&schema, columns);
    int64_t path = column(&schema, "path"), exact = column(&schema, "path_bytes");
    int64_t total = 0, batches = 0, inexact = 0, links = 0;
    while (get_next(&stream, &schema, &batch)) {
        const struct ArrowArray *paths = batch.children[path], *bytes = batch.children[exact];
        for (int64_t row = 0; row < batch.length; ++row) {
            tw_entry entry;
            size_t count = 0;
            OK(tw_iter_next(iter, &entry, sizeof entry, 1, &count, &err));
            CHECK_EQ(count, 1);
            if (is_null(bytes, row)) {
                check_bytes(__FILE__, __LINE__, "path", bytes_at(paths, row), entry.path);
            } else {
                check_bytes(__FILE__, __LINE__, "path_bytes", bytes_at(bytes, row), entry.path);
                CHECK_TEXT(bytes_at(paths, row), "music/odd\\xff");
                ++inexact;
            }
            CHECK_TEXT(word_at(schema.children[0], batch.children[0], row), "music");
            int64_t kind = column(&schema, "kind"), target = column(&schema, "target");
            int is_link = same(word_at(schema.children[kind], batch.children[kind], row), tw_str("symlink"));
            CHECK_EQ(is_link, entry.kind == TW_KIND_SYMLINK);
            CHECK_EQ(is_link, !is_null(batch.children[target], row));
            links += is_link;
            CHECK(u64_at(batch.children[column(&schema, "size")], row) == entry.size);
            CHECK(u64_at(batch.children[column(&schema, "mtime")], row) == (uint64_t)entry.mtime_ns);
            CHECK(u64_at(batch.children[column(&schema, "inode")], row) == entry.inode);
            CHECK(u64_at(batch.children[column(&schema, "id")], row) == entry.id);
            CHECK(is_null(batch.children[column(&schema, "hash")], row));
            CHECK(is_null(batch.children[column(&schema, "missing_since")], row));
            if (total % 1000 == 0) {
                OK(tw_iter_clear(iter, &err));
            }
            ++total;
        }
        ++batches;
        batch.release(&batch);
        CHECK(batch.release == NULL);
    }
    CHECK(total == files + 2 && inexact == 1 && links == 1 && batches == (files + 2 + BATCH_ROWS - 1) / BATCH_ROWS);
    CHECK(!get_next(&stream, &schema, &batch));
    release(&stream, &schema);
    OK(tw_iter_free(iter, &err));

    /* A filter; and a stream of which nothing is read, or a batch that outlives it. */
    tw_options *filter = new_options(TW_OPTIONS_FILTER), *wrong = new_options(TW_OPTIONS_SCAN);
    OK(tw_options_set_bytes(filter, TW_OPTION_FILTER_GLOB, tw_str("music/file-00000?"), &err));
    OK(tw_snapshot_arrow(other, filter, &stream, &err));
    release(&stream, NULL);
    OK(tw_snapshot_arrow(other, filter, &stream, &err));
    get_schema(&stream, &schema);
    CHECK(get_next(&stream, &schema, &batch));
    release(&stream, &schema);
    CHECK_EQ(batch.length, 10);
    CHECK_TEXT(bytes_at(batch.children[path], 9), "music/file-000009");
    /* One column is moved out and outlives the rest, as the specification allows. */
    struct ArrowArray moved = *batch.children[path];
    batch.children[path]->release = NULL;
    batch.release(&batch);
    CHECK_TEXT(bytes_at(&moved, 3), "music/file-000003");
    moved.release(&moved);
    memset(&stream, 0xa5, sizeof stream);
    struct ArrowArrayStream before = stream;
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_snapshot_arrow(other, wrong, &stream, &err));
    CHECK(memcmp(&before, &stream, sizeof stream) == 0);
    OK(tw_options_free(filter, &err));
    OK(tw_options_free(wrong, &err));
    OK(tw_snapshot_free(other, &err));
}

static void changes(tw_warden *warden) {
    static const char *const columns[] = {"seq:L", "root:i", "kind:c", "entry_kind:c", "path:u", "path_bytes:z?",
                                          "from:u?", "from_bytes:z?", "id:L", NULL};
    uint64_t since = 0;
    tw_changes *changes = NULL;
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray batch;
    size_t count = 7;
    tw_change row;
    OK(tw_warden_seq(warden, &since, &err));
    make_dir("tree/dir");
    CHECK(rename(in_dir("tree/file-000001"), in_dir("tree/dir/moved")) == 0);
    CHECK_EQ(scan(warden).moved, 1);
    OK(tw_warden_changes(warden, since, &changes, &err));
    OK(tw_changes_files_only(changes, &err));
    OK(tw_changes_arrow(changes, &stream, &err));
    OK(tw_changes_next(changes, &row, sizeof row, 1, &count, &err));
    CHECK_EQ(count, 0);
    OK(tw_changes_free(changes, &err));
    get_schema(&stream, &schema);
    check_schema(&schema, columns);
    CHECK(get_next(&stream, &schema, &batch));
    CHECK_EQ(batch.length, 1);
    CHECK_TEXT(word_at(schema.children[2], batch.children[2], 0), "moved");
    CHECK_TEXT(bytes_at(batch.children[4], 0), "music/dir/moved");
    CHECK_TEXT(bytes_at(batch.children[6], 0), "music/file-000001");
    CHECK(is_null(batch.children[5], 0) && is_null(batch.children[7], 0));
    batch.release(&batch);
    CHECK(!get_next(&stream, &schema, &batch));
    release(&stream, &schema);
}

static void jobs_and_lists(tw_warden *warden) {
    static const char *const of_jobs[] = {"path:u", "path_bytes:z?", "state:c", "priority:c", "attempt:I", "token:L",
                                          "expires:tsn:UTC", NULL};
    static const char *const of_items[] = {"path:u", "path_bytes:z?", "state:c", "dead:b", NULL};
    static const char *const of_history[] = {"id:L", "kind:c", "root:i", "start:tsn:UTC", "end:tsn:UTC", "seq:L",
                                             "added:L", "modified:L", "moved:L", "missing:L", "restored:L",
                                             "forgotten:L", "errors:L", "status:c", "error:u?", NULL};
    tw_options *options = new_options(TW_OPTIONS_PIPELINE);
    tw_pipeline *pipeline = NULL;
    tw_jobs *jobs = NULL;
    tw_list *list = NULL;
    tw_job job;
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray batch;
    OK(tw_options_set_int(options, TW_OPTION_PIPELINE_SETTLE_MS, 0, &err));
    OK(tw_options_set_bytes(options, TW_OPTION_PIPELINE_GLOB, tw_str("file-00001?"), &err));
    OK(tw_warden_pipeline(warden, tw_str("jobs"), options, &pipeline, &err));
    OK(tw_options_free(options, &err));
    OK(tw_pipeline_claim(pipeline, 4, 0, &jobs, &err));
    OK(tw_jobs_fail(jobs, 0, tw_str("no"), 1, -1, &err));
    OK(tw_jobs_get(jobs, 1, &job, sizeof job, &err));
    OK(tw_jobs_arrow(jobs, &stream, &err));
    get_schema(&stream, &schema);
    check_schema(&schema, of_jobs);
    CHECK(get_next(&stream, &schema, &batch));
    CHECK_EQ(batch.length, 3);
    check_bytes(__FILE__, __LINE__, "path", bytes_at(batch.children[0], 0), job.path);
    CHECK_TEXT(word_at(schema.children[2], batch.children[2], 0), "new");
    CHECK_TEXT(word_at(schema.children[3], batch.children[3], 0), "high");
    CHECK(u64_at(batch.children[5], 0) == job.token && u64_at(batch.children[6], 0) == (uint64_t)job.expires_ns);
    batch.release(&batch);
    release(&stream, &schema);
    OK(tw_jobs_complete_all(jobs, NULL, 0, &err));
    OK(tw_jobs_arrow(jobs, &stream, &err));
    get_schema(&stream, &schema);
    CHECK(!get_next(&stream, &schema, &batch));
    release(&stream, &schema);

    int64_t dead = 0, rows = 0;
    OK(tw_pipeline_list(pipeline, tw_str(""), -1, 100, &list, &err));
    OK(tw_list_arrow(list, &stream, &err));
    OK(tw_list_free(list, &err));
    get_schema(&stream, &schema);
    check_schema(&schema, of_items);
    for (; get_next(&stream, &schema, &batch); batch.release(&batch)) {
        rows += batch.length;
        for (int64_t row = 0; row < batch.length; ++row) {
            dead += is_set(batch.children[3], row);
        }
    }
    CHECK(rows == 10 && dead == 1);
    release(&stream, &schema);

    OK(tw_warden_history(warden, 1, &list, &err));
    OK(tw_list_arrow(list, &stream, &err));
    OK(tw_list_free(list, &err));
    get_schema(&stream, &schema);
    check_schema(&schema, of_history);
    CHECK(get_next(&stream, &schema, &batch));
    CHECK(batch.length == 1 && u64_at(batch.children[column(&schema, "moved")], 0) == 1);
    CHECK_TEXT(word_at(schema.children[13], batch.children[13], 0), "ok");
    batch.release(&batch);
    release(&stream, &schema);
    OK(tw_warden_roots(warden, &list, &err));
    FAILS(TW_STATUS_INVALID_ARGUMENT, tw_list_arrow(list, &stream, &err));
    OK(tw_list_free(list, &err));
    OK(tw_jobs_free(jobs, &err));
    OK(tw_pipeline_free(pipeline, &err));
}

int main(void) {
    test_enter();
    if (getenv("TREEWARDEN_FEW_FILES") != NULL) {
        files = 500;
    }
    for (int i = 0; i < files; ++i) {
        char name[40];
        snprintf(name, sizeof name, "tree/file-%06d", i);
        int fd = open(in_dir(name), O_CREAT | O_WRONLY, 0644);
        CHECK(fd >= 0 && close(fd) == 0);
    }
    write_file("tree/odd\xff", "odd");
    CHECK(symlink("file-000000", in_dir("tree/link")) == 0);
    tw_warden *warden = open_warden(NULL);
    CHECK_EQ(scan(warden).added, files + 2);
    entries(warden);
    changes(warden);
    jobs_and_lists(warden);
    OK(tw_warden_free(warden, &err));
    return 0;
}
