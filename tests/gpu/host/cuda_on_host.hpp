// Plays a CUDA grid on one CPU thread, so that the kernels' own source runs under the host's compiler and sanitizers.
//
// Every CUDA thread is a fiber; a barrier hands over to the next fiber. Blocks and threads run in a shuffled order,
// and shared memory holds noise at a block's start: a kernel that leans on an order or on zeroes gives itself away.
// A barrier that only some threads of a block reach is an error here, as it may hang there.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

struct Index {
    unsigned x, y, z;
};

inline thread_local Index threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __launch_bounds__(threads)
#define __device__ static
#define __shared__ static __attribute__((section("shared_memory")))

inline float __uint_as_float(unsigned bits) { float value; std::memcpy(&value, &bits, 4); return value; }
inline unsigned __float_as_uint(float value) { unsigned bits; std::memcpy(&bits, &value, 4); return bits; }
inline int __float2int_rn(float value) { return (int)std::lrintf(value); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }

// One CPU thread plays all: these need no lock.
inline int atomicAdd(int* at, int value) { const int old = *at; *at += value; return old; }
inline int atomicMax(int* at, int value) { const int old = *at; *at = std::max(old, value); return old; }
inline unsigned atomicOr(unsigned* at, unsigned value) { const unsigned old = *at; *at |= value; return old; }

namespace host {

extern "C" char __start_shared_memory[] __attribute__((weak));
extern "C" char __stop_shared_memory[] __attribute__((weak));

enum class State { fresh, running, waiting, done };

constexpr size_t kStackBytes = 64 * 1024;

struct Fiber {
    ucontext_t start;
    jmp_buf resume;
    State state;
    Index index;
    std::vector<char> stack = std::vector<char>(kStackBytes);
};

struct Block {
    unsigned long long barriers = 0;  // arrivals since the launch began
    std::vector<Fiber> fibers;
    jmp_buf scheduler;
    Fiber* active = nullptr;
    const std::function<void()>* body = nullptr;
};

inline Block& block() { static Block instance; return instance; }

inline void enter() {
    (*block().body)();
    block().active->state = State::done;
    _longjmp(block().scheduler, 1);
}

inline void run_until_barrier(Fiber& fiber) {
    block().active = &fiber;
    threadIdx = fiber.index;
    if (_setjmp(block().scheduler)) return;
    if (fiber.state == State::waiting) {
        fiber.state = State::running;
        _longjmp(fiber.resume, 1);
    }
    fiber.state = State::running;
    setcontext(&fiber.start);
}

inline void prepare(Fiber& fiber, Index index) {
    fiber.index = index;
    fiber.state = State::fresh;
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.data();
    fiber.start.uc_stack.ss_size = fiber.stack.size();
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, enter, 0);
}

inline void scramble_shared_memory(std::mt19937& noise) {
    for (char* at = __start_shared_memory; at < __stop_shared_memory; ++at) *at = (char)noise();
}

inline const char* play_block(const std::vector<Index>& threads, std::mt19937& noise) {
    auto& fibers = block().fibers;
    if (fibers.size() < threads.size()) fibers = std::vector<Fiber>(threads.size());
    for (size_t k = 0; k < threads.size(); ++k) prepare(fibers[k], threads[k]);
    std::vector<size_t> order(threads.size());
    for (size_t k = 0; k < order.size(); ++k) order[k] = k;
    for (;;) {
        std::shuffle(order.begin(), order.end(), noise);
        size_t done = 0;
        for (size_t k : order) {
            if (fibers[k].state != State::done) run_until_barrier(fibers[k]);
            done += fibers[k].state == State::done;
        }
        if (done == threads.size()) return nullptr;
        if (done) return "a barrier was reached by some threads of a block only";
    }
}

// Null, or what the kernel did wrong. A kernel without barriers is called plainly, thread after thread.
inline const char* play(const std::function<void()>& body, bool has_barriers, const unsigned grid[3],
                        const unsigned threads_of[3], unsigned seed) {
    std::mt19937 noise(seed);
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {threads_of[0], threads_of[1], threads_of[2]};
    std::vector<Index> threads, blocks;
    for (unsigned z = 0; z < blockDim.z; ++z)
        for (unsigned y = 0; y < blockDim.y; ++y)
            for (unsigned x = 0; x < blockDim.x; ++x) threads.push_back({x, y, z});
    for (unsigned z = 0; z < gridDim.z; ++z)
        for (unsigned y = 0; y < gridDim.y; ++y)
            for (unsigned x = 0; x < gridDim.x; ++x) blocks.push_back({x, y, z});
    std::shuffle(blocks.begin(), blocks.end(), noise);
    block().body = &body;
    block().barriers = 0;
    for (const Index& at : blocks) {
        blockIdx = at;
        if (!has_barriers) {
            for (const Index& thread : threads) { threadIdx = thread; body(); }
            continue;
        }
        scramble_shared_memory(noise);
        if (const char* problem = play_block(threads, noise)) return problem;
    }
    return nullptr;
}

}  // namespace host

inline void __syncthreads() {
    host::Block& block = host::block();
    block.active->state = host::State::waiting;
    ++block.barriers;
    const Index index = threadIdx;
    if (!_setjmp(block.active->resume)) _longjmp(block.scheduler, 1);
    threadIdx = index;
}
