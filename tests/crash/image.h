/*
 * image.h - the files of a store in memory: taken once, laid down again as often as wanted
 *
 * Shape     Regular files and directories below one directory; lock.mdb is left out, as it holds nothing that must be
 *           kept. Nobody has the store open while it is taken or laid down.
 */
#ifndef TESTS_IMAGE_H
#define TESTS_IMAGE_H

struct image;
struct image *image_take(const char *dir);
/* DIR and what is in it goes first. */
void image_put(const struct image *image, const char *dir);
void image_free(struct image **image);

#endif
