// What the host library's units share: the names it gives away, wide vectors, and a word of memory.
#pragma once

#define EP_EXPORT extern "C" __attribute__((visibility("default")))

// Where the compiler can choose between instruction sets at load time, wide vectors are used.
#if !defined(EP_CLONES) && defined(__x86_64__) && defined(__gnu_linux__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#define EP_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#endif
#ifndef EP_CLONES
#define EP_CLONES
#endif

typedef long long Word;
