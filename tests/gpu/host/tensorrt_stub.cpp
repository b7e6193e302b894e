// What TensorRT's Python bindings need of its C++ libraries to be imported, and a plugin registry that remembers.
//
// FIRST_SLOT is where `registerCreator` stands in the registry's table of virtual functions: 12 in TensorRT 10, 8 in 11
// (8.x knows no plugins of this kind), followed by getAllCreators, getCreator and deregisterCreator. Seen by calling the bindings.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace {

struct Known {
    void* creator;
    std::string space;
};

std::vector<Known> known;
std::vector<void*> listed;

long unexpected(void*) { return 0; }

bool register_creator(void*, void* creator, const char* space) {
    const bool taken = std::any_of(known.begin(), known.end(), [&](const Known& k) { return k.space == space; });
    if (!taken) known.push_back({creator, space});
    return !taken;
}

void* const* get_all_creators(void*, int32_t* count) {
    listed.clear();
    for (const Known& one : known) listed.push_back(one.creator);
    *count = (int32_t)listed.size();
    return listed.data();
}

void* get_creator(void*, const char*, const char*, const char* space) {
    for (const Known& one : known)
        if (one.space == space) return one.creator;
    return nullptr;
}

bool deregister_creator(void*, void* creator) {
    const size_t before = known.size();
    known.erase(std::remove_if(known.begin(), known.end(), [&](const Known& k) { return k.creator == creator; }),
                known.end());
    return known.size() < before;
}

struct Registry {
    void** functions;
    void* implementation;
};

Registry* registry() {
    static void* functions[64];
    for (void*& slot : functions) slot = (void*)unexpected;
    functions[FIRST_SLOT] = (void*)register_creator;
    functions[FIRST_SLOT + 1] = (void*)get_all_creators;
    functions[FIRST_SLOT + 2] = (void*)get_creator;
    functions[FIRST_SLOT + 3] = (void*)deregister_creator;
    static Registry instance{functions, nullptr};
    return &instance;
}

}  // namespace

extern "C" {
void* getPluginRegistry() { return registry(); }
void* getBuilderPluginRegistry(int) { return registry(); }
void* createInferBuilder_INTERNAL(void*, int) { return nullptr; }
void* createInferRefitter_INTERNAL(void*, void*, int) { return nullptr; }
void* createInferRuntime_INTERNAL(void*, int) { return nullptr; }
void* createNvOnnxParserRefitter_INTERNAL(void*, void*, int) { return nullptr; }
void* createNvOnnxParser_INTERNAL(void*, void*, int) { return nullptr; }
int getNvOnnxParserVersion() { return 0; }
bool initLibNvInferPlugins(void*, const char*) { return true; }
// 8.x only: parsers of formats that nobody uses any more.
void* uff_parser() asm("_ZN11nvuffparser15createUffParserEv");
void uff_field() asm("_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi");
void* caffe_parser() asm("_ZN14nvcaffeparser117createCaffeParserEv");
void caffe_end() asm("_ZN14nvcaffeparser123shutdownProtobufLibraryEv");
void* uff_parser() { return nullptr; }
void uff_field() {}
void* caffe_parser() { return nullptr; }
void caffe_end() {}
}
