// Takes up a folder and says how many files there are: main FOLDER STATE.

#include <treewarden.hpp>

#include <iostream>

int main(int argc, char **argv) {
    if (argc != 3 || tw_abi_version() != TW_ABI_VERSION) {
        return 2;
    }
    try {
        const treewarden::Warden warden(argv[2]);
        warden.add_root("folder", argv[1]);
        std::cout << tw_version() << ": " << warden.scan("folder").files << " files\n";
    } catch (const treewarden::Error &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
