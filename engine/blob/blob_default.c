/*
 * blob_default.c - the dictionaries that came with the program
 *
 * Made by `make dict` from invented mail (tools/dict). They are copied into a new store, so that it depends on its
 * own rows alone: another release may bring others.
 */
#include "blob_internal.h"

#define EMBED(name, file)                                                                          \
	__asm__(".section .rodata\n" #name ":\n.incbin \"" file "\"\n" #name "_end:\n.previous\n");    \
	extern const uint8_t name[], name##_end[]

EMBED(blob_default_body, "engine/blob/default_body.zdict");
EMBED(blob_default_derived, "engine/blob/default_derived.zdict");

struct shelf_span
blob_dict_default(enum blob_kind kind)
{
	return kind == BLOB_BODY
		   ? shelf_span(blob_default_body, (size_t)(blob_default_body_end - blob_default_body))
		   : shelf_span(blob_default_derived, (size_t)(blob_default_derived_end - blob_default_derived));
}

int
blob_dict_add_defaults(struct kv_txn *txn, void *ignored)
{
	uint32_t id;
	int rc = blob_dict_add(txn, BLOB_BODY, 0, blob_dict_default(BLOB_BODY), &id);

	return rc != 0 ? rc : blob_dict_add(txn, BLOB_DERIVED, 0, blob_dict_default(BLOB_DERIVED), &id);
}
