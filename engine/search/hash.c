/*
 * hash.c - SipHash-2-4: texts of strangers as 64 bits
 *
 * The key is random for each sort, so nobody can make two texts that meet; by chance two of ten million do
 * once in three hundred thousand times. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF".
 */
#include <mailshelf/mem.h>

#include "sort.h"

static inline uint64_t
rotate(uint64_t v, unsigned bits)
{
	return v << bits | v >> (64 - bits);
}

static inline void
rounds(uint64_t v[4], unsigned n)
{
	while (n-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32) + v[3];
		v[2] += v[1];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

uint64_t
search_hash(const struct search_hash_key *key, struct shelf_span s)
{
	uint64_t v[4] = {key->k[0] ^ 0x736f6d6570736575, key->k[1] ^ 0x646f72616e646f6d,
	    key->k[0] ^ 0x6c7967656e657261, key->k[1] ^ 0x7465646279746573};
	uint64_t word = 0;
	size_t i = 0;

	for (; i < s.len; i++) {
		word |= (uint64_t)s.data[i] << (i % 8 * 8);
		if (i % 8 == 7) {
			v[3] ^= word;
			rounds(v, 2);
			v[0] ^= word;
			word = 0;
		}
	}
	word |= (uint64_t)s.len << 56;
	v[3] ^= word;
	rounds(v, 2);
	v[0] ^= word;
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
