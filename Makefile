# mailshelf: `make help` lists the targets. GNU make, no configure step, no recursion.

MODE   ?= debug
BUILD  ?= build
PREFIX ?= /usr/local
B      := $(BUILD)/$(MODE)

WARN := -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
        -Wold-style-definition -Wvla -Wwrite-strings -Wpointer-arith -Wundef -Wformat=2 \
        -Wno-unused-parameter -Werror=incompatible-pointer-types

HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
OPT_debug   := -O0 -g3 -Werror
OPT_release := -O2 -g $(HARDEN)
OPT_asan    := -O1 -g -Werror -fsanitize=address,undefined -fno-sanitize-recover=all \
               -fno-omit-frame-pointer -DSHELF_SLOW_CHECKS
OPT_tsan    := -O1 -g -fsanitize=thread -DSHELF_SLOW_CHECKS
OPT_cov     := -O0 -g --coverage
OPT_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -DSHELF_SLOW_CHECKS
LINK_release := -pie -Wl,-z,relro,-z,now

# Who may see whom: the arrows of docs/architecture.md, checked by the compiler.
# Every room sees itself and include/; a line grants the rest.
SEES_engine/base   :=
SEES_engine/kv     := engine/base
SEES_engine/blob   := engine/base engine/kv
SEES_engine/index  := engine/base engine/kv
SEES_engine/mime   := engine/base
SEES_engine/news   := engine/base engine/kv
SEES_engine/mail   := engine/base engine/kv engine/blob engine/index engine/mime engine/news
SEES_engine/backup := engine/base engine/kv engine/blob engine/index engine/mime engine/mail
SEES_engine/search := engine/base engine/index engine/mime engine/mail
SEES_access/net    :=
SEES_access/conf   :=
SEES_access/metrics := access/net
SEES_access/auth   := access/net access/conf access/metrics
SEES_access/imap   := access/net access/conf access/auth access/metrics
SEES_access/pop3   := access/net access/conf access/auth access/metrics
SEES_access/lmtp   := access/net access/conf access/route access/metrics
SEES_access/route  := access/conf
SEES_access/mta    := access/net access/conf access/auth access/route
SEES_access/warn   := access/conf
SEES_access/control := access/net
SEES_access        := $(patsubst %/,%,$(wildcard access/*/))
SEES_tools         := access/conf access/route
SEES_tools/dict    := engine/base engine/kv engine/blob
SEES_bench         :=
SEES_bench/peers   := bench
SEES_tests/support := $(patsubst %/,%,$(wildcard access/*/)) access $(SEES_engine/mail) engine/mail
SEES_tests/unit    := $(patsubst %/,%,$(wildcard engine/*/ access/*/)) access tools tests/support tests/golden
SEES_tests/crash   := engine/base engine/kv tests/support
SEES_tests/golden  := $(SEES_engine/mail) engine/mail tests/support
SEES_tests/dialogue := tests/support
SEES_tests/fuzz    := $(SEES_tests/unit)

LIBS_engine := -llmdb -lzstd -lcrypto -lcrypt -largon2 -lroaring -licuuc -licui18n -licudata -lpthread -lm
LIBS_access := -levent_core -levent_openssl -levent_pthreads -lssl -lz -lmicrohttpd
LIBS_tests  := $(shell pkg-config --libs check 2>/dev/null || echo -lcheck -lsubunit -lm -lrt)

# The sources are whatever lies in the rooms: no list to forget.
srcs   = $(sort $(wildcard $1))
objs   = $(patsubst %.c,$B/%.o,$1)
room   = $(patsubst %/,%,$(dir $1))
ENGINE  := $(call srcs,engine/*/*.c)
ACCESS  := $(filter-out access/mailshelfd.c,$(call srcs,access/*.c access/*/*.c))
TOOLS   := $(filter-out tools/mailshelf.c,$(call srcs,tools/*.c))
UNIT    := $(call srcs,tests/unit/*.c)
SUPPORT := $(call srcs,tests/support/*.c)
FUZZ    := $(call srcs,tests/fuzz/fuzz_*.c)
BENCH   := $(call srcs,bench/*.c)
LOAD    := $(call srcs,bench/peers/*.c) bench/bench_mail.c bench/bench_run.c
SUPPORT_ALONE := $(addprefix tests/support/,jobs.c support.c model.c model_store.c)
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZ))

PROGRAMS := $B/mailshelfd $B/mailshelf

all: $(PROGRAMS) ## Build the two programs into build/MODE (MODE=debug, release, asan, tsan, cov, fuzz)

$B/libmailshelf.a: $(call objs,$(ENGINE))
	@rm -f $@ && $(AR) rcs $@ $^
$B/libaccess.a: $(call objs,$(ACCESS))
	@rm -f $@ && $(AR) rcs $@ $^

link = @echo "  LD   $(@F)" && $(CC) $(OPT_$(MODE)) $(LINK_$(MODE)) $(CFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDFLAGS)
$B/mailshelfd: $B/access/mailshelfd.o $B/libaccess.a $B/libmailshelf.a
	$(link) $(LIBS_access) $(LIBS_engine)
$B/mailshelf: $B/tools/mailshelf.o $(call objs,$(TOOLS)) $B/libaccess.a $B/libmailshelf.a
	$(link) -lssl $(LIBS_engine) -lz
$B/unit: $(call objs,$(UNIT) $(SUPPORT) $(TOOLS) tests/golden/golden_list.c) $B/libaccess.a $B/libmailshelf.a | $B/mailshelfd
	$(link) $(LIBS_access) $(LIBS_engine) $(LIBS_tests)
$B/dialogue: $B/tests/dialogue/dialogue.o $(call objs,$(SUPPORT)) $B/libaccess.a $B/libmailshelf.a
	$(link) $(LIBS_access) $(LIBS_engine)
# LMDB and zstd from their archives, so that their allocations, too, come to tests/crash/disk_memory.c.
$B/crash: $(call objs,$(call srcs,tests/crash/*.c) $(SUPPORT_ALONE)) $B/libmailshelf.a
	$(link) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=ZSTD_createCDict,--wrap=ZSTD_createCDict_advanced \
	  $(patsubst %,-l:lib%.a,lmdb zstd) $(filter-out -llmdb -lzstd,$(LIBS_engine))
$B/golden: $(call objs,$(call srcs,tests/golden/*.c) $(SUPPORT_ALONE)) $B/libmailshelf.a
	$(link) $(LIBS_engine)
$B/bench_engine: $(call objs,$(BENCH)) $B/libmailshelf.a
	$(link) $(LIBS_engine)
$B/bench_load: $(call objs,$(LOAD)) $B/libmailshelf.a
	$(link) -lssl $(LIBS_engine)
# One program per tests/fuzz/fuzz_NAME.c: with libFuzzer, or with a main that plays the corpus.
$B/libtools.a: $(call objs,$(TOOLS))
	@rm -f $@ && $(AR) rcs $@ $^
FUZZ_LIBS := $B/libtools.a $B/libaccess.a $B/libmailshelf.a
$B/fuzz_%: $B/tests/fuzz/fuzz_%.o $(FUZZ_LIBS)
	$(link) -fsanitize=fuzzer $(LIBS_access) $(LIBS_engine)
$B/regress_%: $B/tests/fuzz/fuzz_%.o $B/tests/fuzz/regress_main.o $(FUZZ_LIBS)
	$(link) $(LIBS_access) $(LIBS_engine)
$(foreach t,fuzz_mime fuzz_record regress_mime regress_record,$B/$t): $B/tests/support/mime_check.o
SESSIONS := imap_session pop3_session lmtp_session
$(SESSIONS:%=$B/fuzz_%) $(SESSIONS:%=$B/regress_%): $B/tests/fuzz/session_rig.o \
	$(addprefix $B/tests/support/,dialogue_server.o dialogue_damage.o jobs.o support.o)

$B/make_dict: $B/tools/dict/make_dict.o $B/libmailshelf.a
	$(link) $(LIBS_engine)
# The default dictionaries are part of this object.
$B/engine/blob/blob_default.o: engine/blob/default_body.zdict engine/blob/default_derived.zdict

# The one compile rule: dependencies fall out of -MMD; the flags are a dependency too.
$B/%.o: %.c $B/flags
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(WARN) $(OPT_$(MODE)) $(CFLAGS) -D_GNU_SOURCE \
	  -Iinclude $(addprefix -iquote ,$(call room,$*) $(SEES_$(call room,$*))) -MMD -MP -c $< -o $@
FLAGS := $(CC) $(WARN) $(OPT_$(MODE)) $(CFLAGS) $(LDFLAGS)
$B/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' > $@
FORCE:

-include $(shell find $B -name '*.d' 2>/dev/null)

# ---- Tests. The long parts are scripts; each prints what it runs.
RUN := MAKE='$(MAKE)' BUILD='$(BUILD)' JOBS='$(JOBS)'
JOBS ?= $(shell nproc)
SECONDS_EACH ?= 60

check: ## Everything that must hold: installs what it needs, ends with "N passed, N failed"
	@$(RUN) tests/support/check.sh
test-programs: $(PROGRAMS) $B/bench_load $B/unit $B/dialogue $B/crash $B/golden $(FUZZERS:%=$B/regress_%)
fuzz-programs: $(FUZZERS:%=$B/fuzz_%)
unit: ## Only the unit tests (ARGS="-v NAME")
	@$(MAKE) MODE=asan $(BUILD)/asan/unit && $(BUILD)/asan/unit $(ARGS)
dialogue: ## Only the dialogues (ARGS="tests/dialogue/imap")
	@$(MAKE) MODE=asan $(BUILD)/asan/dialogue
	$(BUILD)/asan/dialogue $(or $(ARGS),tests/dialogue)
	$(BUILD)/asan/dialogue --bytewise $(or $(ARGS),tests/dialogue)
crash: ## Only the crash tests, long (ARGS="--rounds 200")
	@$(MAKE) MODE=debug $(BUILD)/debug/crash && $(BUILD)/debug/crash $(or $(ARGS),--rounds 200 --cuts 400)
faults: ## Of these every single call of every operation failing (ARGS='--op "move of all"')
	@$(MAKE) --no-print-directory crash ARGS='--only single $(ARGS)'
powercut: ## Of these cuts of the power (ARGS="--cuts 800 --seed 7")
	@$(MAKE) --no-print-directory crash ARGS='--only power $(or $(ARGS),--cuts 800)'
clients: ## Only the tests with real mail clients (ARGS="mbsync")
	@$(MAKE) MODE=asan all && BIN=$(BUILD)/asan python3 tests/clients/run.py $(ARGS)
interop: deps-test deps-interop ## Clients too large for check: imapflow, Roundcube, Thunderbird (ARGS="roundcube")
	@$(MAKE) MODE=asan all && BIN=$(BUILD)/asan python3 tests/clients/run.py -j 1 -d tests/interop $(ARGS)
sessions: ## Random IMAP sessions against each other and a model (SECONDS_LONG=600 SEED=1000)
	@$(MAKE) MODE=asan all && BIN=$(BUILD)/asan SECONDS_LONG=$(or $(SECONDS_LONG),600) \
	  MAILSHELF_FIRST_SEED='$(SEED)' python3 tests/clients/run.py sessions.sessions
fuzz: deps-fuzz ## libFuzzer on every parser, SECONDS_EACH=60 (NAME=... for one)
	@$(MAKE) MODE=fuzz CC=clang fuzz-programs
	@$(RUN) SECONDS_EACH=$(SECONDS_EACH) tests/support/fuzz.sh $(or $(NAME),$(FUZZERS))
dict: ## Make the dictionaries again that new stores begin with (the same bytes with the same zstd)
	@$(MAKE) --no-print-directory MODE=release $(BUILD)/release/make_dict
	@tools/dict/make_mail.py tools/dict/mail.txt 4000 | \
	  $(BUILD)/release/make_dict engine/blob/default_body.zdict engine/blob/default_derived.zdict
bench: ## Measures what the engine promises, on this disk (DIR=... MESSAGES=1000000 ARGS=--json)
	@$(MAKE) --no-print-directory MODE=release $(BUILD)/release/bench_engine
	$(BUILD)/release/bench_engine $(ARGS) $(or $(DIR),$(BUILD)/bench-store) $(or $(MESSAGES),100000)
bench-imap: ## Does any IMAP command keep a loop from the others? (MESSAGES=1000000 MAILBOXES=10000)
	@$(MAKE) --no-print-directory MODE=release all
	python3 bench/imap_turns.py $(or $(MESSAGES),1000000) $(or $(MAILBOXES),10000)
bench-cold: ## What others wait beside readers of a store larger than memory (DIR=... MIB=4096 LIMIT=512)
	@$(MAKE) --no-print-directory MODE=release all
	DIR='$(or $(DIR),$(BUILD))' python3 bench/imap_cold.py $(or $(MIB),4096) $(or $(LIMIT),512)
bench-peers: ## Beside Dovecot and Cyrus, into bench/RESULTS.md (SIZES=10k,100k ROWS=lmtp,mailbox ROUNDS=3 MIXED_S=60 TOTAL_S=2100 DIR=...)
	@bench/peers/setup.sh $(or $(DIR),$(BUILD)/peers)/packages
	@$(MAKE) --no-print-directory MODE=release all $(BUILD)/release/bench_load
	python3 bench/peers/run.py --bin $(BUILD)/release --dir $(or $(DIR),$(BUILD)/peers) --sizes $(or $(SIZES),10k) \
	  --rows $(or $(ROWS),all) --rounds $(or $(ROUNDS),3) --mixed $(or $(MIXED_S),60) \
	  --total $(or $(TOTAL_S),2100) $(ARGS)
arrows: ## Libraries and includes stay in their rooms
	@tests/support/arrows.sh
lint: arrows ## House rules a program can check: lengths, blanks, suites nobody runs
	@tests/support/lint.sh
docs: ## The tables of docs/ that are made from the .def files
	@python3 tests/support/docs.py
ci: ## What CI runs, word for word
	$(MAKE) check
	$(MAKE) demo DEMO_EXIT=1

deps-build deps-test deps-demo deps-fuzz deps-interop: deps-%:
	@tests/support/deps.sh $*
demo: deps-demo ## A store with mail and a running server to try (DEMO_EXIT=1: stop by itself)
	@$(MAKE) --no-print-directory -j$(JOBS) MODE=release all
	@BIN=$(BUILD)/release DEMO_EXIT='$(DEMO_EXIT)' tools/demo/demo.sh
install: ## Programs, library, headers, manual pages, completion for bash (PREFIX, DESTDIR)
	@$(MAKE) MODE=release all && PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' BIN=$(BUILD)/release \
	  tests/support/install.sh

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

clean: ## Remove build/
	rm -rf $(BUILD)

.PHONY: all help clean FORCE check test-programs fuzz-programs unit dialogue crash faults powercut clients interop sessions fuzz bench bench-imap bench-cold bench-peers \
        arrows lint docs ci deps-build deps-test deps-demo deps-fuzz deps-interop demo install
.SECONDARY:
.DELETE_ON_ERROR:
