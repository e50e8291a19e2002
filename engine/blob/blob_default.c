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

int
blob_dict_add_defaults(struct kv_txn *txn, void *ignored)
{
	struct shelf_span body =
	    shelf_span(blob_default_body, (size_t)(blob_default_body_end - blob_default_body));
	struct shelf_span derived = shelf_span(
	    blob_default_derived, (size_t)(blob_default_derived_end - blob_default_derived));
	uint32_t id;
	int rc = blob_dict_add(txn, BLOB_BODY, 0, body, &id);

	return rc != 0 ? rc : blob_dict_add(txn, BLOB_DERIVED, 0, derived, &id);
}
