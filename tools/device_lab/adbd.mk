# Compiles adbd, Android's debugging daemon, for this machine from the source of Debian's package `adb`.
#
#   make -f adbd.mk SOURCE=unpacked-package OUT=folder
#
# adbd lets every client in, as a phone with a debug build does; adbd-secure demands an accepted key, as a phone that
# was bought does. Which files belong to it says system/core/adb/Android.bp, under linux_glibc.

CORE := $(SOURCE)/system/core
ADB := $(CORE)/adb
AUTH := $(SOURCE)/frameworks/native/libs/adbd_auth

SOURCES := \
    $(addprefix $(ADB)/, adb.cpp adb_io.cpp adb_listeners.cpp adb_trace.cpp adb_unique_fd.cpp adb_utils.cpp \
        fdevent/fdevent.cpp fdevent/fdevent_poll.cpp fdevent/fdevent_epoll.cpp services.cpp sockets.cpp \
        socket_spec.cpp sysdeps/errno.cpp sysdeps/posix/network.cpp sysdeps_unix.cpp transport.cpp transport_fd.cpp \
        transport_local.cpp transport_usb.cpp types.cpp shell_service_protocol.cpp \
        daemon/auth.cpp daemon/file_sync_service.cpp daemon/jdwp_service.cpp daemon/main.cpp daemon/services.cpp \
        daemon/shell_service.cpp daemon/usb_dummy.cpp adbconnection/adbconnection_server.cpp) \
    $(AUTH)/adbd_auth.cpp $(CORE)/libasyncio/AsyncIO.cpp $(CORE)/diagnose_usb/diagnose_usb.cpp \
    $(CORE)/libcrypto_utils/android_pubkey.c

INCLUDES := $(addprefix -I, $(ADB) $(ADB)/daemon/include $(ADB)/adbconnection/include $(AUTH)/include \
    $(addprefix $(CORE)/, base/include diagnose_usb/include include libasyncio/include libcrypto_utils/include \
        libcutils/include libutils/include) /usr/include/android)
DEFINES := -D_GNU_SOURCE -UNDEBUG -DADB_HOST=0 -DALLOW_ADBD_ROOT=0 -DADB_VERSION='"29.0.6-debian"' \
    -DPLATFORM_TOOLS_VERSION='"29.0.6"' -DANDROID_BASE_UNIQUE_FD_DISABLE_IMPLICIT_CONVERSION=1
CFLAGS := -O1 -fPIC -w $(DEFINES) $(INCLUDES)
# The source leans on headers that Android's libc++ includes by itself and libstdc++ does not.
CXXFLAGS := $(CFLAGS) -std=gnu++2a -fno-exceptions -fno-strict-aliasing \
    $(addprefix -include , atomic limits map memory optional string.h) -include $(OUT)/fs_config.h
LIBRARIES := /usr/lib/$(shell dpkg-architecture -qDEB_HOST_MULTIARCH)/android
LDLIBS := -L$(LIBRARIES) -Wl,-rpath=$(LIBRARIES) -lbase -lcutils -llog -lcrypto -lcap -lpthread -lresolv -lutil

object = $(OUT)/objects/$(subst /,_,$(basename $(patsubst $(SOURCE)/%,%,$1))).o
MAIN := $(ADB)/daemon/main.cpp
COMMON := $(foreach source,$(filter-out $(MAIN),$(SOURCES)),$(call object,$(source))) $(OUT)/objects/fs_config.o

all: $(OUT)/adbd $(OUT)/adbd-secure

$(OUT)/adbd: $(COMMON) $(OUT)/objects/main-open.o
$(OUT)/adbd-secure: $(COMMON) $(OUT)/objects/main-secure.o
$(OUT)/adbd $(OUT)/adbd-secure:
	clang++ -o $@ $^ $(LDLIBS)

$(OUT)/objects/main-open.o: $(MAIN) $(OUT)/fs_config.h
	clang++ $(CXXFLAGS) -DALLOW_ADBD_NO_AUTH -c $< -o $@
$(OUT)/objects/main-secure.o: $(MAIN) $(OUT)/fs_config.h
	clang++ $(CXXFLAGS) -c $< -o $@

define compile
$(call object,$1): $1 $(OUT)/fs_config.h
	$(if $(filter %.c,$1),clang $(CFLAGS),clang++ $(CXXFLAGS)) -c $$< -o $$@
endef
$(foreach source,$(filter-out $(MAIN),$(SOURCES)),$(eval $(call compile,$(source))))

# Owners of Android's system files: named by the code, never asked for on glibc, and in no library of Debian's.
FS_CONFIG := extern "C" void fs_config(const char*, int, const char*, unsigned*, unsigned*, unsigned*, unsigned long*)
$(OUT)/fs_config.h:
	mkdir -p $(OUT)/objects
	echo '$(FS_CONFIG);' >$@
$(OUT)/objects/fs_config.o: $(OUT)/fs_config.h
	echo '$(FS_CONFIG) { __builtin_trap(); }' | clang++ -fPIC -x c++ -c - -o $@
