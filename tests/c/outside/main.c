/* Takes up a folder and says how many files there are: main FOLDER STATE. */

#include <treewarden.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    tw_warden *warden = NULL;
    tw_list *reports = NULL;
    tw_report report;
    tw_error *error = NULL;
    if (argc != 3 || tw_abi_version() != TW_ABI_VERSION) {
        return 2;
    }
    if (tw_warden_open(tw_str(argv[2]), NULL, &warden, &error) != TW_STATUS_OK ||
        tw_warden_add_root(warden, tw_str("folder"), tw_str(argv[1]), NULL, &error) != TW_STATUS_OK ||
        tw_warden_scan(warden, NULL, NULL, 0, &reports, &error) != TW_STATUS_OK ||
        tw_list_report(reports, 0, &report, sizeof report, &error) != TW_STATUS_OK) {
        tw_error_info info;
        memset(&info, 0, sizeof info);
        tw_error_get(error, &info, sizeof info, NULL);
        fprintf(stderr, "%.*s\n", (int)info.message.len, (const char *)info.message.ptr);
        return 1;
    }
    printf("%s: %" PRIu64 " files\n", tw_version(), report.files);
    tw_list_free(reports, NULL);
    tw_warden_free(warden, NULL);
    return 0;
}
